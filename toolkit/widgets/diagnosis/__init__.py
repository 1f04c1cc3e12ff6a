"""The symptom diagnosis as a page: from a log, a recording, a service folder or words to the cause and its cure."""

from __future__ import annotations

from toolkit.widgets.diagnosis.panel import SymptomDiagnosis, symptom_diagnosis

__all__ = ["SymptomDiagnosis", "symptom_diagnosis"]
