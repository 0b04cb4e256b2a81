/* SPDX-License-Identifier: MIT
 *
 * Source annotations (SAL). They are promises for a static analyser, so every one of them expands
 * to nothing here; the runtime checks the same promises while the driver runs.
 */
#pragma once

/* Without arguments. */
#define _In_
#define _In_opt_
#define _In_z_
#define _In_opt_z_
#define _Inout_
#define _Inout_opt_
#define _Inout_z_
#define _Inout_updates_z_(size)
#define _Out_
#define _Out_opt_
#define _Outptr_
#define _Outptr_opt_
#define _Outptr_result_maybenull_
#define _Outptr_opt_result_maybenull_
#define _Outptr_result_nullonfailure_
#define _Outptr_result_z_
#define _COM_Outptr_
#define _Outref_
#define _Reserved_
#define _Const_
#define _Null_
#define _Notnull_
#define _Maybenull_
#define _Null_terminated_
#define _NullNull_terminated_
#define _Points_to_data_
#define _Literal_
#define _Notliteral_
#define _Pre_
#define _Post_
#define _Pre_valid_
#define _Pre_notnull_
#define _Pre_maybenull_
#define _Pre_null_
#define _Pre_z_
#define _Pre_invalid_
#define _Pre_opt_valid_
#define _Post_valid_
#define _Post_invalid_
#define _Post_notnull_
#define _Post_maybenull_
#define _Post_null_
#define _Post_z_
#define _Post_ptr_invalid_
#define _Post_equals_last_error_
#define _Post_satisfies_(expr)
#define _Pre_satisfies_(expr)
#define _Check_return_
#define _Check_return_wat_
#define _Must_inspect_result_
#define _Ret_maybenull_
#define _Ret_notnull_
#define _Ret_null_
#define _Ret_valid_
#define _Ret_z_
#define _Ret_maybenull_z_
#define _Ret_range_(low, high)
#define _Ret_writes_(size)
#define _Ret_writes_bytes_(size)
#define _Ret_writes_maybenull_(size)
#define _Ret_writes_bytes_maybenull_(size)
#define _Use_decl_annotations_
#define _Raises_SEH_exception_
#define _Maybe_raises_SEH_exception_
#define _Field_z_
#define _Frees_ptr_
#define _Frees_ptr_opt_
#define _Printf_format_string_
#define _Scanf_format_string_
#define _Always_(annos)
#define _Analysis_noreturn_
#define _Enum_is_bitflag_
#define _Strict_type_match_
#define _Interlocked_
#define _Interlocked_operand_
#define _Has_lock_level_(level)
#define _Create_lock_level_(level)
#define _Struct_size_bytes_(size)
#define _Null_terminated_or_null_

/* With a size, a range or a condition. */
#define _In_reads_(size)
#define _In_reads_opt_(size)
#define _In_reads_z_(size)
#define _In_reads_opt_z_(size)
#define _In_reads_or_z_(size)
#define _In_reads_bytes_(size)
#define _In_reads_bytes_opt_(size)
#define _In_reads_to_ptr_(ptr)
#define _In_range_(low, high)
#define _Out_range_(low, high)
#define _Inout_updates_(size)
#define _Inout_updates_opt_(size)
#define _Inout_updates_bytes_(size)
#define _Inout_updates_bytes_opt_(size)
#define _Inout_updates_bytes_to_(size, count)
#define _Inout_updates_to_(size, count)
#define _Inout_updates_all_(size)
#define _Out_writes_(size)
#define _Out_writes_opt_(size)
#define _Out_writes_z_(size)
#define _Out_writes_opt_z_(size)
#define _Out_writes_to_(size, count)
#define _Out_writes_to_opt_(size, count)
#define _Out_writes_all_(size)
#define _Out_writes_all_opt_(size)
#define _Out_writes_bytes_(size)
#define _Out_writes_bytes_opt_(size)
#define _Out_writes_bytes_to_(size, count)
#define _Out_writes_bytes_to_opt_(size, count)
#define _Out_writes_bytes_all_(size)
#define _Out_writes_bytes_all_opt_(size)
#define _Outptr_result_buffer_(size)
#define _Outptr_result_bytebuffer_(size)
#define _Outptr_opt_result_buffer_(size)
#define _Outptr_opt_result_bytebuffer_(size)
#define _Outptr_result_buffer_maybenull_(size)
#define _Outptr_result_bytebuffer_maybenull_(size)
#define _Field_size_(size)
#define _Field_size_opt_(size)
#define _Field_size_part_(size, count)
#define _Field_size_bytes_(size)
#define _Field_size_bytes_opt_(size)
#define _Field_size_bytes_part_(size, count)
#define _Field_size_bytes_part_opt_(size, count)
#define _Field_range_(low, high)
#define _Readable_bytes_(size)
#define _Readable_elements_(size)
#define _Writable_bytes_(size)
#define _Writable_elements_(size)
#define _Pre_readable_size_(size)
#define _Pre_writable_size_(size)
#define _Pre_readable_byte_size_(size)
#define _Pre_writable_byte_size_(size)
#define _Post_readable_size_(size)
#define _Post_writable_size_(size)
#define _Post_readable_byte_size_(size)
#define _Post_writable_byte_size_(size)
#define _Post_equal_to_(expr)
#define _Return_type_success_(expr)
#define _Success_(expr)
#define _Deref_out_range_(low, high)
#define _Deref_inout_range_(low, high)
#define _Deref_in_range_(low, high)
#define _Deref_pre_maybenull_
#define _Deref_post_maybenull_
#define _Unchanged_(expr)
#define _On_failure_(annos)
#define _When_(expr, annos)
#define _At_(target, annos)
#define _At_buffer_(target, iter, bound, annos)
#define _Group_(annos)
#define _Analysis_assume_(expr)
#define _Analysis_mode_(mode)
#define _Analysis_assume_nullterminated_(expr)
#define _Analysis_assume_lock_held_(lock)
#define _Analysis_assume_lock_not_held_(lock)
#define _Analysis_assume_lock_acquired_(lock)
#define _Analysis_assume_lock_released_(lock)
#define _Analysis_suppress_lock_checking_(lock)
#define _Benign_race_begin_
#define _Benign_race_end_
#define _Guarded_by_(lock)
#define _Write_guarded_by_(lock)
#define _Inexpressible_(text)
#define _Requires_lock_held_(lock)
#define _Requires_lock_not_held_(lock)
#define _Requires_no_locks_held_
#define _Requires_shared_lock_held_(lock)
#define _Requires_exclusive_lock_held_(lock)
#define _Acquires_lock_(lock)
#define _Acquires_shared_lock_(lock)
#define _Acquires_exclusive_lock_(lock)
#define _Acquires_nonreentrant_lock_(lock)
#define _Releases_lock_(lock)
#define _Releases_shared_lock_(lock)
#define _Releases_exclusive_lock_(lock)
#define _Releases_nonreentrant_lock_(lock)
#define _Post_same_lock_(one, two)
#define _Inout_updates_bytes_all_(size)
#define _Inout_updates_bytes_all_opt_(size)
#define _Inout_updates_all_opt_(size)
#define _Inout_updates_bytes_to_opt_(size, count)
#define _Inout_updates_to_opt_(size, count)
#define _Outptr_result_maybenull_z_
#define _Outptr_opt_result_maybenull_z_
#define _Outptr_opt_result_z_
#define _Out_writes_to_ptr_(ptr)
#define _Out_writes_bytes_to_ptr_(ptr)
#define _Outptr_result_buffer_to_(size, count)
#define _Outptr_result_bytebuffer_to_(size, count)
#define _Outptr_result_buffer_all_(size)
#define _Outptr_result_bytebuffer_all_(size)
#define _Deref_out_opt_
#define _Deref_pre_z_
#define _Deref_post_z_
#define _Deref_prepost_z_
#define _Deref_post_notnull_
#define _Deref_pre_notnull_
#define _Deref_ret_z_
#define _Result_nullonfailure_
#define _Result_zeroonfailure_
#define _In_count_(size)
#define _In_bytecount_(size)
#define _Out_cap_(size)
#define _Out_bytecap_(size)
#define _Inout_cap_(size)
#define _Ret_opt_
#define _Ret_count_(size)
#define _Ret_bytecap_(size)
#define _Ret_writes_to_(size, count)
#define _Ret_writes_bytes_to_(size, count)
#define _Translates_Win32_to_NTSTATUS_(e)
#define _Return_same_
#define _Prepost_valid_
#define _Prepost_z_
#define _IRQL_limited_max_(irql)
#define _Requires_capability_(c)
#define _Lock_level_order_(one, two)
#define _Has_lock_kind_(kind)
#define _No_competing_thread_
#define _No_competing_thread_begin_
#define _No_competing_thread_end_
#define _Acquires_spin_lock_(lock)

/* Kernel annotations. */
#define _Function_class_(kind)
#define _Dispatch_type_(function)
#define _IRQL_requires_(irql)
#define _IRQL_requires_max_(irql)
#define _IRQL_requires_min_(irql)
#define _IRQL_requires_same_
#define _IRQL_raises_(irql)
#define _IRQL_saves_
#define _IRQL_saves_global_(kind, name)
#define _IRQL_restores_
#define _IRQL_restores_global_(kind, name)
#define _IRQL_always_function_max_(irql)
#define _IRQL_always_function_min_(irql)
#define _IRQL_is_cancel_
#define _IRQL_uses_cancel_
#define _IRQL_limited_to_(irql)
#define _Kernel_float_saved_
#define _Kernel_float_restored_
#define _Kernel_float_used_
#define _Kernel_requires_resource_held_(kind)
#define _Kernel_requires_resource_not_held_(kind)
#define _Kernel_acquires_resource_(kind)
#define _Kernel_releases_resource_(kind)
#define _Kernel_entry_
#define _Kernel_entry_always_
#define _Kernel_IoGetDmaAdapter_
#define _Kernel_clear_do_init_(yes)

/* The older forms of the same. */
#define __drv_when(expr, annos)
#define __drv_at(expr, annos)
#define __drv_in(annos)
#define __drv_in_deref(annos)
#define __drv_out(annos)
#define __drv_out_deref(annos)
#define __drv_ret(annos)
#define __drv_valueIs(list)
#define __drv_reportError(text)
#define __drv_preferredFunction(function, why)
#define __drv_interlocked
#define __drv_inTry
#define __drv_notInTry
#define __drv_functionClass(kind)
#define __drv_dispatchType(function)
#define __drv_dispatchType_other
#define __drv_sameIRQL
#define __drv_requiresIRQL(irql)
#define __drv_maxIRQL(irql)
#define __drv_minIRQL(irql)
#define __drv_raisesIRQL(irql)
#define __drv_maxFunctionIRQL(irql)
#define __drv_minFunctionIRQL(irql)
#define __drv_savesIRQL
#define __drv_restoresIRQL
#define __drv_savesIRQLGlobal(kind, name)
#define __drv_restoresIRQLGlobal(kind, name)
#define __drv_useCancelIRQL
#define __drv_isCancelIRQL
#define __drv_neverHold(kind)
#define __drv_mustHold(kind)
#define __drv_acquiresResource(kind)
#define __drv_releasesResource(kind)
#define __drv_acquiresExclusiveResource(kind)
#define __drv_releasesExclusiveResource(kind)
#define __drv_mustHoldCriticalRegion
#define __drv_neverHoldCriticalRegion
#define __drv_acquiresCriticalRegion
#define __drv_releasesCriticalRegion
#define __drv_allocatesMem(kind)
#define __drv_freesMem(kind)
#define __drv_aliasesMem
#define __drv_isObjectPointer
#define __drv_strictType(type, mode)
#define __drv_strictTypeMatch(mode)
#define __drv_constant
#define __drv_nonConstant
#define __drv_formatString(kind)
#define __drv_arg(expr, annos)
#define __drv_deref(annos)
#define __drv_fun(annos)
#define __drv_nop(annos)
#define __drv_innerNever
#define __drv_typeConst  0
#define __drv_typeCond   1
#define __drv_typeBitset 2
#define __drv_typeExpr   3
#define __drv_Mem        0
#define __analysis_assume(expr)
#define __assume_bound(size)
#define __success(expr)
#define __nullterminated
#define __possibly_notnullterminated
#define __checkReturn
#define __callback
#define __kernel_entry

/*
 * The first generation, for drivers only: system headers of the host use some of these names.
 */
#ifdef _WIN32
#define __in
#define __in_opt
#define __inout
#define __inout_opt
#define __out
#define __out_opt
#define __deref_in
#define __deref_inout
#define __deref_out
#define __deref_out_opt
#define __deref_opt_out
#define __deref_opt_out_opt
#define __reserved
#define __nullnullterminated
#define __notnull
#define __maybenull
#define __fallthrough
#define __format_string
#define __in_z
#define __in_z_opt
#define __out_z
#define __range(low, high)
#define __in_bound
#define __out_bound
#define __in_ecount(n)
#define __in_ecount_opt(n)
#define __in_bcount(n)
#define __in_bcount_opt(n)
#define __in_xcount(n)
#define __out_ecount(n)
#define __out_ecount_opt(n)
#define __out_ecount_part(n, m)
#define __out_ecount_part_opt(n, m)
#define __out_bcount(n)
#define __out_bcount_opt(n)
#define __out_bcount_part(n, m)
#define __out_bcount_part_opt(n, m)
#define __out_ecount_full(n)
#define __out_bcount_full(n)
#define __out_xcount(n)
#define __inout_ecount(n)
#define __inout_ecount_opt(n)
#define __inout_bcount(n)
#define __inout_bcount_opt(n)
#define __inout_bcount_part(n, m)
#define __deref_out_ecount(n)
#define __deref_out_bcount(n)
#define __deref_out_bcount_opt(n)
#define __deref_out_ecount_opt(n)
#define __field_ecount(n)
#define __field_bcount(n)
#define __field_ecount_opt(n)
#define __field_bcount_opt(n)
#define __struct_bcount(n)
#define __ecount(n)
#define __bcount(n)
#define __byte_readableTo(n)
#define __post_invalid
#define __post_valid
#define __pre_valid
#define __pre_notnull
#define __analysis_assert(x)
#endif
