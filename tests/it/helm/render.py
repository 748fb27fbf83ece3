#!/usr/bin/env python3
"""Renders a chart with Helm's own engine, from the package helm-python-sdk, where there is no `helm`: what `helm template` prints.

    render.py CHART RELEASE NAMESPACE VALUES
"""

import sys

from helm_python.chart import Chart, values_from_yaml

chart, release, namespace, values = sys.argv[1:]
with open(values) as file:
    given = values_from_yaml(file.read())
with Chart.load(chart) as loaded:
    rendered = loaded.render(values=given, name=release, namespace=namespace)
for path, text in sorted(rendered.items()):
    if path.endswith(".yaml") and text.strip():
        print("---\n# Source: " + path + "\n" + text.strip().removeprefix("---").lstrip("\n"))
