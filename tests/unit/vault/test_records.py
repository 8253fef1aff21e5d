"""The stored form of the records and their form in the API. The stored names are part of the wire and stay."""

import msgspec

from holdfast.vault.records import Credential, Vault

VAULT = Vault(id="vlt_1", display_name="n", metadata={}, created_at=1, updated_at=2_000_000, active={"vcrd_1": "mcp:x"})
CREDENTIAL = Credential(
    id="vcrd_1", vault="vlt_1", display_name=None, metadata={}, auth={}, created_at=1, updated_at=2, archived_at=3
)


def test_a_vault_is_stored_with_the_names_of_version_1() -> None:
    stored = msgspec.json.decode(msgspec.json.encode(VAULT))
    assert stored == {
        "v": 1, "id": "vlt_1", "display_name": "n", "metadata": {}, "created": 1, "updated": 2_000_000, "archived": 0,
        "deleting": False, "active": {"vcrd_1": "mcp:x"},
    }  # fmt: skip
    assert msgspec.convert(stored, Vault) == VAULT


def test_a_credential_is_stored_with_the_names_of_version_1() -> None:
    stored = msgspec.json.decode(msgspec.json.encode(CREDENTIAL))
    assert stored == {
        "v": 1, "id": "vcrd_1", "vault": "vlt_1", "display_name": None, "metadata": {}, "auth": {}, "created": 1,
        "updated": 2, "archived": 3,
    }  # fmt: skip
    assert msgspec.convert(stored, Credential) == CREDENTIAL


def test_the_api_shows_times_as_text() -> None:
    assert VAULT.to_api()["updated_at"] == "1970-01-01T00:00:02.000000Z"
    assert VAULT.to_api()["archived_at"] is None
    assert CREDENTIAL.to_api()["archived_at"] == "1970-01-01T00:00:00.000003Z"
