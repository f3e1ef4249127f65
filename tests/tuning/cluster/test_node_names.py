"""Names of nodes for people, and to tell them apart."""

from tune_qat.tuning.cluster.nodes import node_names


def node(address: str, identity: str) -> dict[str, str]:
    return {"NodeManagerAddress": address, "NodeID": identity * 56}


def test_a_node_has_the_name_of_its_address() -> None:
    assert node_names([node("10.0.0.1", "a"), node("10.0.0.2", "b")]) == ["10.0.0.1", "10.0.0.2"]


def test_nodes_of_one_address_are_told_apart() -> None:
    nodes = [node("10.0.0.1", "a"), node("10.0.0.2", "b"), node("10.0.0.1", "c")]
    assert node_names(nodes) == ["10.0.0.1 (node aaaaaaaa)", "10.0.0.2", "10.0.0.1 (node cccccccc)"]
