"""A user at JupyterHub: headless Chromium on the pages of Notebook 7.

Not JupyterLab's: there, one page holds the tabs of the last visit, their dialogs and a scrolling window of cells.
Notebook 7 has one page a notebook with all its cells in it, and looks like what EMR's hub shows first.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.common import TimeoutException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from fruits.params import repository

NO_BROWSER = "there is no chromium with chromedriver here (Debian: chromium and chromium-driver)"
# Screenshots to look at; git ignores them, `make clean` removes them.
ARTEFACTS = repository() / "reports" / "tests"
# Nothing that a browser does unasked, and a certificate that signs itself.
_FLAGS = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "ignore-certificate-errors", "disable-dev-shm-usage"),
    "window-size=1400,1000",
)
_PATIENCE = 60
_CELLS = """
const text = (where) => Array.from(document.querySelectorAll(where)).map((found) => found.textContent);
return {
    prompts: text('.jp-CodeCell .jp-InputPrompt'),
    // The page draws errors as it does warnings.
    errors: text('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]')
        .filter((found) => found.includes('Traceback (most recent call last)')),
    // Until it has a kernel, the page calls it idle.
    ready: !['', 'No Kernel'].includes(text('.jp-KernelName').join(''))
        && document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle',
}
"""


def is_installed() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


@contextmanager
def open_browser(folder: Path) -> Iterator[Chrome]:
    """Start Chromium with a profile of its own in this folder."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*_FLAGS, f"user-data-dir={folder}"):
        options.add_argument(f"--{flag}")
    browser = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def save_screenshot(browser: Chrome, name: str) -> Path:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    file = ARTEFACTS / f"{name}.png"
    assert browser.save_screenshot(str(file))
    print(f"screenshot: {file}")  # noqa: T201 - somebody looks at it
    return file


class Visit:
    """What a user does at one hub, from the login on."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser, self.url = browser, url
        self._files = browser.current_window_handle

    def log_in(self, user: str, password: str) -> str:
        """Fill in the form; return what the hub says against it, or nothing once the list of files is shown."""
        self.browser.get(f"{self.url}/hub/login")
        for name, value in (("username", user), ("password", password)):
            self.browser.find_element(By.NAME, name).send_keys(value)
        form = self._find("#login_submit")
        form.click()
        refused = ".login_error"
        self.wait_for(lambda: self._all(refused) or self._all(".jp-DirListing-content"))
        return next((found.text for found in self._all(refused)), "")

    def list_files(self) -> list[str]:
        return [found.text for found in self._all(".jp-DirListing-itemName")]

    def list_kernels(self) -> list[str]:
        """Open the list's menu of new notebooks and leave it open."""
        self._find(".jp-FileBrowser-toolbar .lm-MenuBar-item").click()
        return [found.text for found in self._find_all("[data-command='notebook:create-new'] .lm-Menu-itemLabel")]

    def make_notebook(self, kernel: str) -> None:
        assert kernel in self.list_kernels()
        label = f"//li[@data-command='notebook:create-new'][.//div[text()='{kernel}']]"
        self._follow(self.browser.find_element(By.XPATH, label).click)

    def open_notebook(self, name: str) -> None:
        """Open a notebook in a tab of its own, as a click in the list does, and wait for its kernel."""
        self.wait_for(lambda: name in self.list_files())
        entry = next(found for found in self._all(".jp-DirListing-itemName") if found.text == name)
        self._follow(entry.click)

    def write(self, text: str) -> None:
        """Type into the first cell."""
        self._find(".jp-CodeCell .cm-content").click()
        ActionChains(self.browser).send_keys(text).perform()

    def read(self) -> str:
        return str(self._find(".jp-Notebook").text)

    def run_all(self, *, seconds: float) -> None:
        """Choose Run All Cells; return when every cell has run, and fail with the words of an error."""
        self._choose("Run", "runmenu:run-all")
        self.wait_for(lambda: self._state()["errors"] or self._are_done(), seconds=seconds)
        assert not self._state()["errors"], self._state()["errors"]

    def show_picture(self, number: int = -1) -> None:
        """Scroll to a picture among the outputs, the last one if not told otherwise."""
        picture = self._find_all(".jp-OutputArea-output img")[number]
        loaded = "return arguments[0].complete && arguments[0].naturalWidth"
        self.wait_for(lambda: self.browser.execute_script(loaded, picture))
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)

    def take_screenshot(self, name: str) -> Path:
        return save_screenshot(self.browser, name)

    def save(self) -> None:
        """Save; the page asks for a checkpoint when the server has the notebook."""
        self.browser.execute_script("performance.clearResourceTimings()")
        ActionChains(self.browser).key_down(Keys.CONTROL).send_keys("s").key_up(Keys.CONTROL).perform()
        asked = "return performance.getEntriesByType('resource').some((entry) => entry.name.includes('/checkpoints'))"
        self.wait_for(lambda: self.browser.execute_script(asked))

    def leave(self) -> None:
        """Close and shut down the notebook, which ends its Spark session, and log out, which alone would not."""
        self._choose("File", "filemenu:close-and-cleanup")
        here = self.browser.current_window_handle
        self._find(".jp-Dialog button.jp-mod-accept").click()
        self.wait_for(lambda: here not in self.browser.window_handles)
        self.browser.switch_to.window(self._files)
        self._choose("File", "hub:logout")
        self.wait_for(lambda: self._all("#login_submit") or "/hub/" in self.browser.current_url)

    def wait_for(self, reached: Callable[[], Any], *, seconds: float = _PATIENCE) -> None:
        try:
            WebDriverWait(self.browser, seconds, poll_frequency=0.2).until(lambda _: reached())
        except TimeoutException:
            if self.browser.current_window_handle in self.browser.window_handles:
                self.take_screenshot("failed")
            raise

    def _state(self) -> dict[str, Any]:
        return dict(self.browser.execute_script(_CELLS))

    def _are_done(self) -> bool:
        state = self._state()
        return state["ready"] and not {"[*]:", "[ ]:"} & set(state["prompts"])

    def _follow(self, act: Callable[[], Any]) -> None:
        """Do what opens a tab, go there and wait for the kernel."""
        before = set(self.browser.window_handles)
        act()
        self.wait_for(lambda: set(self.browser.window_handles) - before)
        self.browser.switch_to.window((set(self.browser.window_handles) - before).pop())
        self.wait_for(self._has_kernel)

    def _has_kernel(self) -> bool:
        """Return whether the kernel is ready; on a busy machine the page may ask for it, with the right one chosen."""
        for select in self._all(".jp-Dialog:has(select) button.jp-mod-accept"):
            select.click()
        return bool(self._state()["ready"])

    def _choose(self, menu: str, command: str) -> None:
        label = f"//div[contains(@class, 'lm-MenuBar-itemLabel') and text()='{menu}']"
        self.browser.find_element(By.XPATH, label).click()
        self._find(f".lm-Menu [data-command='{command}']").click()

    def _find(self, where: str) -> WebElement:
        return self._find_all(where)[0]

    def _find_all(self, where: str) -> list[WebElement]:
        self.wait_for(lambda: self._all(where))
        return self._all(where)

    def _all(self, where: str) -> list[WebElement]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, where))
