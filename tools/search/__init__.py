"""The searches, for distillation's settings and for shapes: what is searched, their trials, storage and pages."""
