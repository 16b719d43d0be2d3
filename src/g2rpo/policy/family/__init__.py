"""What differs between families of models; one file per family, found by `model_type`.

    model_family.py  What a family says: encoder, positions, image features, where its parts are.
    choose_family.py Chooses the family of a checkpoint from its files, before weights are loaded.
    qwen_vl.py       Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Qwen3-VL-MoE; qwen3_5.py is like it.
    patches.py       Images of Qwen-VL to patches, on the device of the policy.
    unpatchify.py    Image patches of Qwen-VL back to images, for engines.
    processor.py     The general road, over transformers' own processors. On it are gemma3.py,
                     idefics3.py (SmolVLM too), internvl.py and llava_onevision.py.

A further family is one file: here, or anywhere with `model.family=my_family.py`. It defines a
subclass of `model_family.Family` with the `model_types` that it covers.
"""
