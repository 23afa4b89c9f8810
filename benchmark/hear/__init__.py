"""HEAR's tasks: folders, heareval's own runner, the leaderboard, and our probes."""
