"""Embeddings over HTTP, without torch: `uvicorn service:app`, beside model.onnx."""

import io
from typing import Annotated

import onnxruntime
import soundfile
import soxr
from fastapi import FastAPI, File, HTTPException

app, session = FastAPI(), onnxruntime.InferenceSession("model.onnx")


@app.post("/embed")
def embed(sound: Annotated[bytes, File()]) -> list[float]:
    """Return the embedding of a sound file: `curl -F sound=@dog.wav localhost:8000/embed`."""
    try:
        wave, rate = soundfile.read(io.BytesIO(sound), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise HTTPException(422, f"no sound file: {error}") from error
    wave = soxr.resample(wave.mean(1), rate, 16_000)
    return session.run(None, {"audio": wave[None]})[0][0].tolist()
