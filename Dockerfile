# The service with the model of release/:
#   docker build --tag intents . && docker run --rm --publish 8000:8000 --read-only intents
FROM python:3.11-slim

WORKDIR /app
COPY requirements-serving.txt requirements-service.txt ./
RUN pip install --no-cache-dir --requirement requirements-service.txt

COPY LICENSE ./
COPY intents/__init__.py intents/
COPY intents/core intents/core
COPY intents/serving intents/serving
COPY intents/service intents/service
COPY release release

# No user of the image's, and none that owns a file in it.
USER 10001:10001
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["python", "-m", "intents.service", "--host", "0.0.0.0", "--port", "8000"]
