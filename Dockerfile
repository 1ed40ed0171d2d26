# Every role in one image, by its command: gateway (the default), fanout, deliver, or any other of `tocsin --help`.

FROM python:3.13-slim AS build
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# What it depends on changes seldom, and is a layer of its own.
COPY pyproject.toml README.md ./
RUN mkdir -p bus/people bus/pipe bus/scripts gateway/api gateway/wire fanout/channels fanout/deliver fanout/ladder tocsin \
    && pip install . && pip uninstall --yes tocsin
COPY bus bus
COPY gateway gateway
COPY fanout fanout
COPY tocsin tocsin
COPY templates templates
COPY web/client web/client
COPY web/demo web/demo
RUN pip install --no-deps --editable . && python -m compileall -q /app /venv

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home tocsin
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY deploy/healthcheck.py /app/deploy/healthcheck.py
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 TOCSIN_HOST=0.0.0.0
USER tocsin
# tocsin.toml is looked for here, and nothing is written.
WORKDIR /etc/tocsin
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s CMD ["python", "/app/deploy/healthcheck.py", "http://127.0.0.1:8000/readyz"]
ENTRYPOINT ["tocsin"]
CMD ["gateway"]
