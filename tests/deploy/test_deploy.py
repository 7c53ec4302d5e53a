"""Files for those who run the service: every alert has its place in the runbook, and what they name is there."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from serving.metrics import Metrics
from serving.request_body import BODY_LIMITS, BULK_PREFIX, OTHER_LIMIT, limit_of
from serving.settings import VARIABLES
from tests.serving.process import free_port, life
from tests.serving.sockets import KEY

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RULES: list[dict[str, Any]] = [
    rule for group in YAML(typ="safe").load(DEPLOY / "prometheus" / "alerts.yaml")["groups"] for rule in group["rules"]
]
UNIT = (DEPLOY / "systemd" / "sanad@.service").read_text("utf-8")
NGINX = (DEPLOY / "nginx.conf").read_text("utf-8")
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")


def test_every_alert_has_its_heading_in_the_runbook_and_no_heading_is_left_over() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.MULTILINE)
    assert headings == [rule["alert"] for rule in RULES]
    assert len(set(headings)) == len(headings) > 15


def test_every_alert_asks_for_metrics_that_the_service_counts() -> None:
    counted = {name for family in Metrics().registry.collect() for name in (family.name, f"{family.name}_total")}
    counted |= {f"sanad_stage_seconds_{part}" for part in ("bucket", "sum", "count")}
    asked = {rule["alert"]: set(re.findall(r"\bsanad_\w+", rule["expr"])) for rule in RULES}
    assert all(asked.values())
    assert {name: wrong for name, names in asked.items() if (wrong := names - counted)} == {}


@pytest.mark.parametrize(
    "about",
    ["sanad_page_items_unlabelled", "sanad_page_languages", "sanad_catalogue_tier_items", "sanad_events_total",
     "cap:", "sanad_pages_degraded", "sanad_model_trained"],
)  # fmt: skip
def test_drift_and_quality_of_data_are_watched(about: str) -> None:
    assert any(about in rule["expr"] for rule in RULES)


def test_the_rules_are_right_in_the_eyes_of_prometheus() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    rules = str(DEPLOY / "prometheus" / "alerts.yaml")
    done = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SERVED = {"series": 'sanad_pages_total{kind="fresh"}', "values": "0+60x120"}
NO_EVENT = {"series": 'sanad_events_total{outcome="accepted"}', "values": "0x120"}


@pytest.mark.parametrize(
    ("alert", "series", "told"),
    [
        ("SanadNoEvents", [SERVED, NO_EVENT], {}),
        ("SanadNoEvents", [SERVED, {**NO_EVENT, "values": "0+1x120"}], None),
        (
            "SanadLocalSupply",
            [{"series": 'sanad_alerts_total{kind="supply"}', "values": "0x60 1x60"}],
            {"kind": "supply"},
        ),
    ],
)
def test_an_alert_fires_where_it_has_to(
    alert: str, series: list[dict[str, str]], told: dict[str, str] | None, tmp_path: Path
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    [rule] = [rule for rule in RULES if rule["alert"] == alert]
    fired = {"exp_labels": {**rule["labels"], **(told or {})}, "exp_annotations": rule["annotations"]}
    asked = {"eval_time": "100m", "alertname": alert, "exp_alerts": [] if told is None else [fired]}
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [asked]}
    case = {"rule_files": [str(DEPLOY / "prometheus" / "alerts.yaml")], "tests": [test]}
    (tmp_path / "case.yaml").write_text(json.dumps(case))
    command = [promtool, "test", "rules", str(tmp_path / "case.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_reloads_by_the_signal_and_gives_few_rights() -> None:
    lines = [line for line in UNIT.splitlines() if "=" in line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["ExecReload"] == "/bin/kill -HUP $MAINPID" and settings["KillSignal"] == "SIGTERM"
    assert settings["ProtectSystem"] == "strict" and settings["NoNewPrivileges"] == "yes"
    assert settings["CapabilityBoundingSet"] == "" and settings["UMask"] == "0077"
    assert "SANAD_CLOCK_CONFIRMED_AT" not in "\n".join(lines)


def test_the_image_sets_variables_that_there_are_and_copies_what_is_there() -> None:
    assert set(re.findall(r"\b(SANAD_\w+)=", DOCKERFILE)) <= set(VARIABLES)
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    ]
    assert len(copied) > 8 and [name for name in copied if not (ROOT / name).exists()] == []
    assert DOCKERFILE.rindex("USER sanad") > DOCKERFILE.rindex("apt-get")


def test_the_services_of_the_compose_file_mount_what_is_there() -> None:
    services = YAML(typ="safe").load(DEPLOY / "docker" / "compose.yaml")["services"]
    places = [volume.split(":")[0] for service in services.values() for volume in service["volumes"]]
    brought = ("./models", "./keys", "./tls", "state")
    ours = [place for place in places if not place.startswith(brought)]
    assert ours and all((DEPLOY / "docker" / place).exists() for place in ours)
    assert services["sanad"]["read_only"] and services["sanad"]["cap_drop"] == ["ALL"]


def proxy_limit(path: str) -> int:
    """The bytes that the proxy lets through to an address: it looks at `=`, then at patterns, then at beginnings."""
    found = re.findall(r"location (=|~|) ?(\S+) \{\s+client_max_body_size (\d+)([km]);", NGINX)
    sizes = [
        int(n) * {"k": 2**10, "m": 2**20}[unit]
        for kind in ("=", "~", "")
        for how, place, n, unit in found
        if how == kind and re.search({"=": f"^{place}$", "~": place, "": f"^{place}"}[kind], path)
    ]
    return sizes[0] if sizes else 2**20


@pytest.mark.parametrize("path", [*BODY_LIMITS, f"{BULK_PREFIX}items", "/v1/items/v1"])
def test_no_body_that_the_service_takes_is_too_large_for_the_proxy(path: str) -> None:
    assert re.search(r"^    client_max_body_size 1m;", NGINX, re.MULTILINE) and OTHER_LIMIT.n_bytes == 2**20
    assert proxy_limit(path) >= limit_of(path).n_bytes


@pytest.fixture
def nginx(tmp_path: Path) -> list[str]:
    """The command of nginx with our configuration, on a port of this machine and without TLS; it needs no rights."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    own = re.sub(r"^ +ssl_certificate.*$", "", NGINX, flags=re.MULTILINE)  # there are none here
    own = own.replace("listen 443 ssl;", f"listen 127.0.0.1:{free_port()};")
    own = own.replace("127.0.0.1:8000", f"127.0.0.1:{free_port()}")  # where nobody listens
    own = own.replace("/var/log/nginx", str(tmp_path)).replace("http {", f"http {{ {places}", 1)
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid; daemon off;\n{own}")
    return [found, "-p", str(tmp_path), "-e", str(tmp_path / "first.log"), "-c", str(tmp_path / "nginx.conf")]


def test_the_proxy_is_right_in_the_eyes_of_nginx(nginx: list[str]) -> None:
    done = subprocess.run([*nginx, "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "[warn]" not in done.stderr, done.stderr


def test_the_proxy_writes_no_id_of_a_person(nginx: list[str], tmp_path: Path) -> None:
    """Also where it has something to say: that nobody answers, or that a body is too large."""
    [port] = re.findall(r"listen 127.0.0.1:(\d+);", (tmp_path / "nginx.conf").read_text())
    with subprocess.Popen(nginx, stderr=subprocess.PIPE, text=True) as running:
        try:
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=5))
            with client:
                assert client.get("/v1/users/Amina-77").status_code == 502
                assert client.put("/v1/users/Amina-77", content=b"x" * (2**20 + 1)).status_code == 413
                assert client.get("/metrics?Amina-77").status_code == 403
        finally:
            running.terminate()
        assert running.stderr is not None and "Amina-77" not in running.stderr.read()
    logs = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert logs and [path for path in logs if b"Amina-77" in path.read_bytes()] == []


@pytest.mark.slow
def test_two_processes_behind_the_proxy_serve_as_one_and_one_of_them_may_die(
    nginx: list[str], tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's pages come from either: no video twice. A call that met the dead one is sent again, as callers do."""
    [address] = re.findall(r"listen 127.0.0.1:(\d+);", (tmp_path / "nginx.conf").read_text())
    shown: list[str] = []
    monkeypatch.setenv("SANAD_API_KEYS", hashlib.sha256(KEY.encode()).hexdigest())
    with ExitStack() as stack:
        ports = [free_port(), free_port()]
        lives = [stack.enter_context(life(tiny_folder, tmp_path / "state.db", port)) for port in ports]
        conf = tmp_path / "nginx.conf"
        servers = "".join(f"server 127.0.0.1:{port};" for port in ports)
        conf.write_text(re.sub(r"server 127\.0\.0\.1:\d+ max_conns=256;", servers, conf.read_text(), count=1))
        proxy = stack.enter_context(subprocess.Popen(nginx, stderr=subprocess.DEVNULL))
        stack.callback(proxy.terminate)

        def page(n: int) -> httpx.Response:
            body = {"user_id": "u", "size": 5, "request_id": f"r{n}"}
            return client.post("/v1/feed", json=body, headers={"Connection": "close", "X-API-Key": KEY})

        transport = httpx.HTTPTransport(retries=5)
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{address}", transport=transport, timeout=20)
        )
        for n in range(12):
            if n == 6:
                lives[0].process.kill()
                lives[0].process.wait()
            answers = [page(n)]
            while answers[-1].status_code == 502 and len(answers) < 5:
                answers.append(page(n))
            assert answers[-1].status_code == 200, answers[-1].text
            shown += [item["item_id"] for item in answers[-1].json()["items"]]
        counted = [_requests(port) for port in ports[1:]]
    assert len(shown) == len(set(shown)) > 30
    assert counted[0] >= 8, "the one that lived answered its half, and all the rest"


def _requests(port: int) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", headers={"X-API-Key": KEY}).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if re.match(r"sanad_pages_total", line))
