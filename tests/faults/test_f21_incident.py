"""F21: an exception that nobody expected, with a caller's value in it."""

import logging

import pytest

from riskengine.server.calls import incident

VALUE = "card-4f0c2a"


def test_f21_unexpected_exception_is_logged_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """Goal: F21, no caller's value in a log or in a reply. Method: an error that quotes one; the place is told, the text not."""
    with caplog.at_level(logging.DEBUG):
        try:
            raise ValueError(VALUE)
        except ValueError as error:
            fault = incident(error, where="ScoreTransaction")

    assert VALUE not in caplog.text + fault.message
    assert "ValueError" in caplog.text
    assert fault.metadata["incident_id"] in caplog.text
