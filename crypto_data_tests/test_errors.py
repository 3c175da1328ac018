"""The tree of errors: what each says, and that it survives the way between processes."""

import copy
import pickle

import pytest

from crypto_data import errors
from crypto_data.errors import (
    Absent,
    Attempt,
    Blocked,
    Broken,
    CatalogError,
    CatalogNotWritten,
    Closed,
    CryptoDataError,
    DataSourceError,
    Fault,
    LakeBusy,
    LakeDamaged,
    LakeError,
    LakeNotWritable,
    RateLimited,
    Rejected,
    SourceError,
    Unreachable,
    UsageError,
)

FAULT = Fault("crypto_data.yaml", 7, "feeds[0].start", "'soon'", "a UTC day such as 2024-01-01")
ATTEMPT = Attempt("vision", "absent", "404")
ALL = [
    CryptoDataError("x"),
    CatalogError([FAULT, FAULT]),
    UsageError("say what"),
    SourceError("rest", "binance/spot/BTCUSDT/1m", "odd"),
    Absent("vision", "binance/spot/BTCUSDT/1m", "404"),
    Broken("vision", "binance/spot/BTCUSDT/1m", "sha256 differs"),
    Rejected("rest", "binance/spot/BTCUSDT/1m", "-1121 Invalid symbol."),
    Blocked("rest", "binance/spot/BTCUSDT/1m", "451"),
    RateLimited("rest", "binance/spot/BTCUSDT/1m", "418", 120.5),
    Unreachable("rest", "binance/spot/BTCUSDT/1m", "timeout"),
    DataSourceError("binance/spot/BTCUSDT/1m", "3 days", [ATTEMPT]),
    LakeError("/lake/x", "odd"),
    LakeDamaged("/lake/x", "torn"),
    LakeBusy("/lake/x", "held"),
    LakeNotWritable("/lake/x", "full"),
    CatalogNotWritten("/crypto_data.yaml", "full"),
    Closed(),
]


def test_every_error_of_the_module_is_tried_here() -> None:
    """A new error joins the list, and with it all tests below."""
    classes = {
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, CryptoDataError)
    }

    assert {type(one) for one in ALL} == classes


@pytest.mark.parametrize("error", ALL, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(
    "carry",
    [lambda e: pickle.loads(pickle.dumps(e)), copy.copy],  # noqa: S301 - our own bytes
    ids=["pickle", "copy"],
)
def test_an_error_survives_the_way_to_another_process(error, carry) -> None:
    """Type, message and every fact come back equal."""
    again = carry(error)

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(
            ALL[1],
            "crypto_data.yaml:7: feeds[0].start: found 'soon'; "
            "allowed: a UTC day such as 2024-01-01\n" * 2,
            id="catalog",
        ),
        pytest.param(ALL[8], "rest: binance/spot/BTCUSDT/1m: 418", id="rate-limited"),
        pytest.param(
            ALL[10], "binance/spot/BTCUSDT/1m: 3 days: vision: absent: 404", id="all-failed"
        ),
        pytest.param(
            DataSourceError("s", "3 days", []), "s: 3 days: no source was asked", id="none-asked"
        ),
        pytest.param(ALL[14], "/lake/x: full", id="lake"),
        pytest.param(ALL[15], "/crypto_data.yaml: full", id="configuration"),
    ],
)
def test_a_message_names_place_and_fact(error, message) -> None:
    """What a person reads says which series, file or line it is about."""
    assert str(error) == message.strip()


@pytest.mark.parametrize(
    ("branch", "leaves"),
    [
        (SourceError, {Absent, Broken, Rejected, Blocked, RateLimited, Unreachable}),
        (LakeError, {LakeDamaged, LakeBusy, LakeNotWritable}),
        (
            CryptoDataError,
            {
                CatalogError,
                CatalogNotWritten,
                Closed,
                UsageError,
                SourceError,
                DataSourceError,
                LakeError,
            },
        ),
    ],
)
def test_the_tree_is_branched_by_what_to_do_next(branch, leaves) -> None:
    """Who catches a branch gets its leaves and no other; the docstring draws the same tree."""
    assert set(branch.__subclasses__()) == leaves
    assert all(leaf.__name__ in (errors.__doc__ or "") for leaf in leaves)


def test_no_error_of_ours_is_one_of_pythons() -> None:
    """`except OSError` or `ValueError` never swallows one of them."""
    assert not any(isinstance(one, OSError | ValueError | LookupError) for one in ALL)
    assert ALL[8].retry_after == 120.5
