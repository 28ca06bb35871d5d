"""Fields of a ``config.json`` that do not change what a decoder computes.

Read off transformers: what its decoders of these families do not look at when they compute logits.
"""

from __future__ import annotations

from typing import Any

# Of the file and its maker, of tokens, generating, training, other heads, and older versions.
_NAMES = """
    model_type architectures transformers_version torch_dtype dtype name_or_path model_name license
    library_name tokenizer_class auto_map unsloth_version unsloth_fixed transformers.js_config
    is_llama_config attn_implementation use_flash_attention use_flash_attn torchscript
    tf_legacy_loss xla_device use_bfloat16 bf16 fp16

    bos_token_id eos_token_id pad_token_id sep_token_id unk_token_id cls_token_id mask_token_id
    decoder_start_token_id prefix

    max_length min_length max_new_tokens do_sample early_stopping num_beams num_beam_groups
    diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty
    no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences
    output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
    remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
    cache_implementation use_cache output_hidden_states output_attentions return_dict
    use_return_dict

    initializer_range attention_dropout resid_pdrop embd_pdrop attn_pdrop dropout hidden_dropout
    attention_probs_dropout_prob hidden_dropout_prob classifier_dropout layerdrop
    gradient_checkpointing use_gradient_checkpointing pretraining_tp

    summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
    summary_last_dropout id2label label2id num_labels problem_type finetuning_task
    task_specific_params

    is_decoder tie_encoder_decoder cross_attention_hidden_size chunk_size_feed_forward
    reorder_and_upcast_attn n_ctx n_special predict_special_tokens max_sequence_length
    max_seq_len max_seq_length model_max_length seq_length
"""
NAMES = frozenset(_NAMES.split())


def is_harmless(name: str, value: Any) -> bool:
    """Whether a field that a decoder does not read leaves its numbers alone.

    What is off, null, false or empty, changes nothing; names that begin with ``_`` are
    transformers' own notes.
    """
    off = value is None or value is False or value in ({}, [], "")
    return off or name in NAMES or name.startswith("_")
