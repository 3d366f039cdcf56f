"""Secret stores: the environment, a sealed file, Vault, and those of plugins."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from aether_dagster.crypto import Key, KeyRing
from aether_dagster.errors import PluginError
from aether_dagster.plugins.file_secrets import write_secrets
from aether_dagster.plugins.secrets import secret_reader


def test_the_environment_is_read_with_a_prefix_or_without():
    environ = {"TOKEN": "one", "SALES_TOKEN": "two"}
    assert secret_reader(None, environ)("TOKEN") == "one"
    assert secret_reader("env://SALES_", environ)("TOKEN") == "two"
    with pytest.raises(KeyError):
        secret_reader("env://", environ)("NONE")


@pytest.fixture
def sealed(tmp_path):
    key = Key.generate()
    file = tmp_path / "secrets.json"
    write_secrets(file, {"TOKEN": "hunter22"}, KeyRing([key]))
    return file, key


def test_a_sealed_file_is_opened_with_the_key_of_the_state(sealed):
    file, key = sealed
    assert b"hunter22" not in file.read_bytes()
    read = secret_reader(f"file://{file}", {"AETHERSCRIPT_STATE_KEY": key.text()})
    assert read("TOKEN") == "hunter22"
    with pytest.raises(KeyError):
        read("NONE")


def test_the_store_may_name_its_own_key_and_not_hold_it(sealed):
    file, key = sealed
    environ = {"OWN": key.text(), "AETHERSCRIPT_STATE_KEY": Key.generate().text()}
    assert secret_reader(f"file://{file}?key=env:OWN", environ)("TOKEN") == "hunter22"
    with pytest.raises(PluginError, match="write where it is") as caught:
        secret_reader(f"file://{file}?key={key.text()}", environ)("TOKEN")
    assert key.text() not in str(caught.value)


def test_what_is_wrong_with_a_sealed_file_is_told_without_a_secret(sealed, tmp_path):
    file, _ = sealed
    with pytest.raises(PluginError, match="set AETHERSCRIPT_STATE_KEY"):
        secret_reader(f"file://{file}", {})("TOKEN")
    other = {"AETHERSCRIPT_STATE_KEY": Key.generate().text()}
    with pytest.raises(PluginError, match="cannot be opened"):
        secret_reader(f"file://{file}", other)("TOKEN")
    with pytest.raises(PluginError, match="cannot be read: No such file"):
        secret_reader(f"file://{tmp_path}/none", other)("TOKEN")
    plain = tmp_path / "plain.json"
    plain.write_text('{"TOKEN": "hunter22"}')
    with pytest.raises(PluginError, match="cannot be opened") as caught:
        secret_reader(f"file://{plain}", other)("TOKEN")
    assert "hunter22" not in str(caught.value)


class Vault(BaseHTTPRequestHandler):
    """Vault's KV version 2, as far as secrets are read of it."""

    SECRETS: ClassVar = {
        "kv/data/sales": {"TOKEN": "vaulted1"},
        "kv/data/KEY": {"value": "vaulted2"},
        "kv/data/deep/er": {"TOKEN": "vaulted3"},
    }
    # As the API's documentation has it: 404 with the metadata of the version which was deleted.
    DELETED: ClassVar = {
        "data": None,
        "metadata": {"deletion_time": "2024-05-01T00:00:00Z", "destroyed": False, "version": 2},
    }
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        path = self.path.removeprefix("/v1/").partition("?")[0]
        self.asked.append(path)
        status, body = 404, {"errors": []}
        if self.headers.get("X-Vault-Token") != "s.token":
            status, body = 403, {"errors": ["permission denied"]}
        elif self.headers.get("X-Vault-Namespace") == "team" and path == "kv/data/sales":
            status, body = 200, {"data": {"data": {"TOKEN": "of the team"}, "metadata": {}}}
        elif path == "kv/data/gone":
            status, body = 404, {"data": self.DELETED}
        elif path in self.SECRETS:
            status, body = 200, {"data": {"data": self.SECRETS[path], "metadata": {"version": 1}}}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def vault():
    Vault.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Vault) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield {"VAULT_ADDR": address, "VAULT_TOKEN": "s.token"}
        server.shutdown()
        thread.join()


def test_vault_gives_members_of_a_secret_or_whole_ones(vault):
    read = secret_reader("vault://kv/sales", vault)
    assert read("TOKEN") == "vaulted1"
    assert read("TOKEN") == "vaulted1"
    assert Vault.asked == ["kv/data/sales"], "each is asked for once"
    assert secret_reader("vault://kv", vault)("KEY") == "vaulted2"
    with pytest.raises(KeyError):
        read("NONE")
    assert secret_reader("vault://kv/deep/er", vault)("TOKEN") == "vaulted3"
    team = {**vault, "VAULT_NAMESPACE": "team"}
    assert secret_reader("vault://kv/sales", team)("TOKEN") == "of the team"
    for missing in ("none", "gone"):
        with pytest.raises(KeyError):
            secret_reader(f"vault://kv/{missing}", vault)("TOKEN")


def test_a_vault_which_refuses_is_told_without_the_token(vault):
    with pytest.raises(PluginError, match=r"gave no secret kv/sales: Forbidden\.") as caught:
        secret_reader("vault://kv/sales", {**vault, "VAULT_TOKEN": "s.wrong1"})("TOKEN")
    assert "s.wrong1" not in str(caught.value)
    with pytest.raises(PluginError, match="needs VAULT_ADDR and VAULT_TOKEN"):
        secret_reader("vault://kv/sales", {})("TOKEN")


def test_a_plugin_provides_a_scheme_and_what_nobody_provides_is_told():
    stores = {"sops": lambda url: lambda name: f"{url} {name}"}
    assert secret_reader("sops://x", {}, stores)("A") == "sops://x A"
    with pytest.raises(PluginError, match=r"No provider for .*env://, file://, vault://, sops://"):
        secret_reader("other://x", {}, stores)("A")
