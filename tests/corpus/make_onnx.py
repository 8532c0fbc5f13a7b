#!/usr/bin/env python3
"""Writes the seeds of the ONNX fuzz target: a few good models, and one file for
each way in which a model can be bad. test_onnx.c says what each gets."""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "onnx")


def model(nodes, inits=(), inputs=None, outputs=None, opset=17, **kw):
    inputs = inputs or [h.make_tensor_value_info("x", T.FLOAT, ["N", 2])]
    outputs = outputs or [h.make_tensor_value_info("y", T.FLOAT, ["N", 3])]
    graph = h.make_graph(nodes, "g", inputs, outputs, list(inits))
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset)],
                        ir_version=8, **kw)


def save(name, what):
    data = what if isinstance(what, bytes) else what.SerializeToString()
    with open(os.path.join(HERE, name + ".onnx"), "wb") as f:
        f.write(data)


W = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
B = numpy_helper.from_array(np.ones(3, dtype=np.float32), "b")


def gemm(**kw):
    return h.make_node("Gemm", ["x", "w", "b"], ["y"], name="fc",
                       **dict({"transB": 1}, **kw))


def tensor(dims, data_type=T.FLOAT, name="w", **kw):
    t = T()
    t.dims.extend(dims)
    t.data_type = data_type
    t.name = name
    for key, value in kw.items():
        getattr(t, key).extend(value) if isinstance(value, list) \
            else setattr(t, key, value)
    return t


def good():
    m = model([gemm()], [W, B])
    h.set_model_props(m, {"classes": "a\nb\nc"})
    save("good_gemm", m)
    save("good_typed", model([gemm()], [
        tensor([3, 2], float_data=[0, 1, 2, 3, 4, 5]),
        tensor([3], name="b", float_data=[1, 1, 1])]))
    save("good_int8", model(
        [h.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
         gemm()],
        [tensor([3, 2], T.INT8, "q", int32_data=[0, 1, 2, -3, 4, -128]),
         tensor([3], T.FLOAT, "s", float_data=[0.5, 1, 2]),
         tensor([3], T.INT8, "z", raw_data=b"\0\0\0"), B]))
    save("good_constant", model(
        [h.make_node("Constant", [], ["k"], value_ints=[-1, 2]),
         h.make_node("Reshape", ["x", "k"], ["r"]),
         h.make_node("Gemm", ["r", "w", "b"], ["y"], transB=1)], [W, B]))
    save("good_unordered", model(
        [h.make_node("Relu", ["h"], ["y"], name="late"),
         h.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1)], [W, B]))


def bad_tensors():
    save("bad_10gb", model([gemm()], [tensor([50000, 50000]), B]))
    save("bad_10gb_raw", model([gemm()], [tensor([50000, 50000], raw_data=b"x"), B]))
    save("bad_overflow", model([gemm()], [tensor([2**40, 2**40]), B]))
    save("bad_overflow_zero", model([gemm()], [tensor([2**40, 2**40, 0]), B]))
    save("bad_rank", model([gemm()], [tensor([1] * 9, raw_data=b"0123"), B]))
    save("bad_negative_dim", model([gemm()], [tensor([-3, -2], raw_data=b"0123" * 6), B]))
    save("bad_raw_length", model([gemm()], [tensor([3, 2], raw_data=b"0123"), B]))
    save("bad_raw_long", model([gemm()], [tensor([3, 2], raw_data=b"0123" * 7), B]))
    save("bad_typed_length", model([gemm()], [tensor([3, 2], float_data=[1, 2]), B]))
    save("bad_int8_range", model([gemm()], [tensor([1], T.INT8, int32_data=[200]), B]))
    save("bad_bool", model([gemm()], [tensor([1], T.BOOL, raw_data=b"\2"), B]))
    save("bad_element_type", model([gemm()], [tensor([1], T.COMPLEX64, raw_data=b"01234567"), B]))
    m = model([gemm()], [W, B])
    m.graph.sparse_initializer.add()
    save("bad_sparse", m)


def outside(name="w", dims=(3, 2), **entries):
    """A tensor whose data lie in another file."""
    t = tensor(dims, name=name, data_location=T.EXTERNAL)
    for key, value in entries.items():
        t.external_data.add(key=key, value=value)
    return t


def external():
    def one(name, **entries):
        save("external_" + name, model([gemm()], [outside(**entries), B]))
    one("whole", location="w.bin")
    one("part", location="w.bin", offset="8", length="24", checksum="00")
    one("below", location="a/b/w.bin", offset="8", length="24")
    one("absolute", location="/etc/hostname")
    one("up", location="../w.bin")
    one("up_and_down", location="a/../../w.bin")
    one("dot", location="./w.bin")
    one("empty", location="")
    one("control", location="w\x1b[2J.bin")
    one("nowhere", offset="0")
    one("beyond", location="w.bin", offset="9")
    one("far", location="w.bin", offset="18446744073709551608")
    one("negative", location="w.bin", offset="-8")
    one("words", location="w.bin", length="24x")
    one("short", location="w.bin", length="23")
    one("long", location="w.bin", length="4000000000")
    save("external_10gb", model([gemm()], [
        outside(dims=(50000, 50000), location="w.bin"), B]))
    save("external_twice", model([gemm()], [
        outside(location="w.bin", offset="8"),
        outside("b", (3,), location="w.bin", offset="8")]))
    save("external_attribute", model(
        [h.make_node("Constant", [], ["w"], value=outside(
            "", location="w.bin", offset="8")), gemm()], [B]))


def bad_nodes():
    save("bad_operator", model([h.make_node("Det", ["x"], ["y"], name="det1")], [W]))
    save("bad_domain", model([h.make_node("Gemm", ["x", "w"], ["y"], domain="com.example")], [W]))
    save("bad_backward", model([h.make_node("ReluGrad", ["x", "x"], ["y"], domain="tributary.grad")]))
    save("bad_cycle", model([h.make_node("Add", ["x", "b"], ["a"], name="first"),
                             h.make_node("Add", ["a", "y"], ["c"], name="second"),
                             h.make_node("Relu", ["c"], ["y"], name="third")], [B]))
    save("bad_self", model([h.make_node("Add", ["x", "y"], ["y"], name="loop")]))
    save("bad_missing", model([gemm()], [W]))
    save("bad_twice_node", model([gemm(), gemm()], [W, B]))
    save("bad_twice_init", model([gemm()], [W, W, B]))
    save("bad_makes_input", model([h.make_node("Relu", ["x"], ["x"]), gemm()], [W, B]))
    save("bad_attribute", model([gemm(speed=3)], [W, B]))
    save("bad_attribute_type", model([gemm(alpha=3)], [W, B]))
    save("bad_arity", model([h.make_node("Gemm", ["x"], ["y"])]))
    n = gemm()
    n.attribute.append(h.make_attribute("transB", 1))
    save("bad_attribute_twice", model([n], [W, B]))
    body = h.make_graph([], "body", [], [])
    save("bad_control_flow", model([h.make_node("If", ["x"], ["y"], then_branch=body)]))
    save("bad_name", model([h.make_node("Relu", ["x"], ["y"], name="\x1b[2J")]))
    save("bad_no_output", model([h.make_node("Relu", ["x"], [""])]))


def bad_model():
    save("bad_opset_low", model([gemm()], [W, B], opset=6))
    save("bad_opset_high", model([gemm()], [W, B], opset=99))
    m = model([gemm()], [W, B])
    m.ir_version = 99
    save("bad_ir", m)
    m = model([gemm()], [W, B])
    m.ClearField("ir_version")
    save("bad_no_ir", m)
    m = model([gemm()], [W, B])
    m.ClearField("graph")
    save("bad_no_graph", m)
    m = model([gemm()], [W, B])
    del m.graph.output[:]
    save("bad_outputs", m)
    save("bad_output_missing", model([h.make_node("Relu", ["x"], ["z"])]))
    save("bad_input_type", model(
        [gemm()], [W, B],
        inputs=[h.make_tensor_value_info("x", T.STRING, ["N", 2])]))
    save("bad_input_rank", model(
        [gemm()], [W, B], inputs=[h.make_tensor_value_info("x", T.FLOAT, [1] * 9)]))
    save("bad_input_sequence", model(
        [gemm()], [W, B],
        inputs=[h.make_tensor_sequence_value_info("x", T.FLOAT, ["N", 2])]))
    deep = b""
    for _ in range(200):  # a type inside a type inside ...
        inner = b"\x0a" + varint(len(deep)) + deep
        deep = b"\x22" + varint(len(inner)) + inner
    value = b"\x12" + varint(len(deep)) + deep
    graph = b"\x5a" + varint(len(value)) + value
    save("bad_deep", b"\x08\x08\x3a" + varint(len(graph)) + graph)
    nodes = b"\x0a\x00" * 20000  # each two bytes long, each a whole struct
    save("bad_bomb", b"\x08\x08\x3a" + varint(len(nodes)) + nodes)
    save("bad_text", b"This is no model at all.\n")
    save("bad_varint", b"\xff" * 12)
    save("bad_length", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")


def operators():
    """A node test of each operator, the smallest, with all inputs but the first
    as initialisers."""
    sys.path.insert(0, os.path.join(HERE, "../../golden/onnx"))
    import nodes
    best = {}
    for case in nodes.read(os.path.join(HERE, "../../golden/onnx/nodes.gz")):
        m = onnx.load_from_string(case.model)
        size = sum(len(t.data) for t in case.inputs)
        ops = {n.op_type for n in m.graph.node}
        if len(ops) > 1 or size > 16384 or \
                any(t.type == 0 or t.type == nodes.STRING for t in case.inputs):
            continue
        for op in ops:
            if op not in best or size < best[op][0]:
                best[op] = (size, case.name, m, case.inputs)
    for op, (_, _, m, inputs) in sorted(best.items()):
        first = 0 if op in ("ConstantOfShape", "Range") else 1
        for info, t in list(zip(m.graph.input, inputs))[first:]:
            value = onnx.TensorProto(dims=t.shape, data_type=t.type,
                                     name=info.name, raw_data=t.data)
            m.graph.initializer.append(value)
            m.graph.input.remove(info)
        save("op_" + op, m)
    for node, opset in ((h.make_node("Gelu", ["x"], ["y"]), 20),
                        (h.make_node("GroupNormalization", ["x", "s", "b"],
                                     ["y"], num_groups=2), 21)):
        save("op_" + node.op_type, model(
            [node], [tensor([4], name=n, float_data=[1, 2, 3, 4])
                     for n in ("s", "b")[:len(node.input) - 1]],
            inputs=[h.make_tensor_value_info("x", T.FLOAT, ["N", 4, 3])],
            opset=opset))


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


if __name__ == "__main__":
    good()
    bad_tensors()
    external()
    bad_nodes()
    bad_model()
    operators()
