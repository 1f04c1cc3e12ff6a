#!/usr/bin/env bash
exec python app.py --host 0.0.0.0 --port 5000 --enable-cleanup
