"""Holds a file against the specification of OpenAPI 3.0: its JSON Schema, references, defaults, parameters of paths.

Argument: a file of JSON or YAML.
"""

import sys

import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator

with open(sys.argv[1], encoding="utf-8") as file:
    # JSON is YAML too.
    document = yaml.safe_load(file)

mistakes = list(OpenAPIV30SpecValidator(document).iter_errors())
for mistake in mistakes:
    print("/".join(str(part) for part in mistake.absolute_path), "-", mistake.message[:500])
sys.exit(1 if mistakes else 0)
