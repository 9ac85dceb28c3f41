"""The page at / in a real browser: a person types a query and reads the answer."""

from collections.abc import Iterator

import pytest
from conftest import ROOT
from service.browser import Page, browsing, installed
from service.running import running

from intents.serving.classifier import Classifier

pytestmark = pytest.mark.skipif(
    not installed(), reason="no Chromium here: `apt-get install chromium` brings one; the page is not tested without it"
)
SHOWN = "!document.getElementById('answer').hidden"


def text(name: str) -> str:
    return f"document.getElementById('{name}').textContent"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("service") / "log") as (_, found):
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(ROOT / "release")


def test_a_person_types_a_query_and_reads_the_answer(page: Page, port: int, classifier: Classifier) -> None:
    page.open(f"http://127.0.0.1:{port}/")
    assert not page.value(SHOWN)
    assert page.value("document.activeElement.id") == "query"
    page.type("play some jazz")
    page.until(SHOWN)
    answer = classifier("play some jazz", 5)
    assert not answer.out_of_scope
    assert page.value(text("intent")) == answer.intent
    assert page.value(text("scope")) == "in scope"
    assert page.value(text("probability")) == f"{100 * answer.probability:.1f} %"
    assert page.value(text("score")) == f"{answer.score:.2f}"
    assert page.value(text("threshold")) == f"{classifier.rule.threshold:.2f}"
    rows = page.value(
        "[...document.querySelectorAll('#top tr')].map(row => row.innerText.split('\\t').filter(Boolean))"
    )
    assert [row[0] for row in rows] == [intent for intent, _ in answer.alternatives]
    assert [row[-1] for row in rows] == [f"{100 * share:.1f} %" for _, share in answer.alternatives]
    assert page.said == []  # no error of the script, nothing that the policy refused


def test_what_is_out_of_scope_is_said_to_be(page: Page, port: int, classifier: Classifier) -> None:
    query = "qwx zzz the moon is made of sonnets"
    assert classifier(query).out_of_scope
    page.open(f"http://127.0.0.1:{port}/?q={query.replace(' ', '+')}")  # a link to a query
    page.until(SHOWN)
    assert page.value("document.getElementById('query').value") == query
    assert page.value(text("scope")).startswith("out of scope")


def test_what_is_typed_is_text_and_never_markup(page: Page, port: int) -> None:
    page.open(f"http://127.0.0.1:{port}/")
    page.type("<img src=x onerror=document.title='broken'>\"'&🙂")
    page.until(SHOWN)
    assert page.value("document.querySelectorAll('img').length") == 0
    assert page.value("document.title") == "Ask the intent classifier"


def test_an_error_is_shown_in_place_of_an_answer(page: Page, port: int) -> None:
    page.open(f"http://127.0.0.1:{port}/")
    page.type("a" * 5001)
    page.until(f"{text('error')} !== ''")
    assert page.value(text("error")) == '"text" has 5001 characters; allowed: 5000'
    assert not page.value(SHOWN)
    page.value("document.getElementById('query').value = ''")
    page.type("play some jazz")
    page.until(SHOWN)
    assert page.value(text("error")) == ""


def test_a_screen_reader_is_told_what_each_thing_is(page: Page, port: int) -> None:
    page.open(f"http://127.0.0.1:{port}/?q=play+some+jazz")
    page.until(SHOWN)
    found = page.accessible()
    assert {
        ("RootWebArea", "Ask the intent classifier"),
        ("heading", "Ask the intent classifier"),
        ("textbox", "Your query"),
        ("button", "Ask"),
        ("table", "The likeliest intents"),
    } <= set(found)
    assert len([name for role, name in found if role == "meter" and name]) == 5
    assert page.value("document.getElementById('answer').getAttribute('aria-live')") == "polite"
    assert page.value("document.documentElement.lang") == "en"


CONTRAST = """(() => {
  const light = (color) => {
    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  return [...document.querySelectorAll("h1, label, button, dt, dd, .faint, #scope, th, td")].map((one) => {
    const own = getComputedStyle(one).backgroundColor;
    const ink = light(getComputedStyle(one).color), ground = light(own === "rgba(0, 0, 0, 0)" ? paper : own);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  });
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_text_stands_out_and_fits_a_telephone(page: Page, port: int, scheme: str) -> None:
    """Contrast of 4.5 to 1 at least, as WCAG 2 asks at level AA."""
    page.scheme(scheme)
    page.resize(320, 640)
    for query in ("play+some+jazz", "the+moon+is+made+of+sonnets"):
        page.open(f"http://127.0.0.1:{port}/?q={query}")
        page.until(SHOWN)
        contrasts = page.value(CONTRAST)
        assert len(contrasts) > 10
        assert min(contrasts) >= 4.5
        assert page.value("document.documentElement.scrollWidth") <= 320
