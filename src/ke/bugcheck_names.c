/* SPDX-License-Identifier: MIT */
/* The names of bug check codes, for reports (PLT-56). Pure. */
#include "ke/bugcheck.h"
#include <bugcodes.h>

#define CODES(X)                                                                                   \
	X(APC_INDEX_MISMATCH)                                                                      \
	X(DEVICE_QUEUE_NOT_BUSY)                                                                   \
	X(INVALID_AFFINITY_SET)                                                                    \
	X(INVALID_DATA_ACCESS_TRAP)                                                                \
	X(INVALID_PROCESS_ATTACH_ATTEMPT)                                                          \
	X(INVALID_PROCESS_DETACH_ATTEMPT)                                                          \
	X(INVALID_SOFTWARE_INTERRUPT)                                                              \
	X(IRQL_NOT_DISPATCH_LEVEL)                                                                 \
	X(IRQL_NOT_GREATER_OR_EQUAL)                                                               \
	X(IRQL_NOT_LESS_OR_EQUAL)                                                                  \
	X(NO_EXCEPTION_HANDLING_SUPPORT)                                                           \
	X(MAXIMUM_WAIT_OBJECTS_EXCEEDED)                                                           \
	X(MUTEX_LEVEL_NUMBER_VIOLATION)                                                            \
	X(NO_USER_MODE_CONTEXT)                                                                    \
	X(SPIN_LOCK_ALREADY_OWNED)                                                                 \
	X(SPIN_LOCK_NOT_OWNED)                                                                     \
	X(THREAD_NOT_MUTEX_OWNER)                                                                  \
	X(TRAP_CAUSE_UNKNOWN)                                                                      \
	X(LAST_CHANCE_CALLED_FROM_KMODE)                                                           \
	X(REFERENCE_BY_POINTER)                                                                    \
	X(BAD_POOL_HEADER)                                                                         \
	X(MEMORY_MANAGEMENT)                                                                       \
	X(PFN_SHARE_COUNT)                                                                         \
	X(PFN_REFERENCE_COUNT)                                                                     \
	X(NO_SPIN_LOCK_AVAILABLE)                                                                  \
	X(KMODE_EXCEPTION_NOT_HANDLED)                                                             \
	X(SHARED_RESOURCE_CONV_ERROR)                                                              \
	X(KERNEL_APC_PENDING_DURING_EXIT)                                                          \
	X(QUOTA_UNDERFLOW)                                                                         \
	X(RDR_FILE_SYSTEM)                                                                         \
	X(INCONSISTENT_IRP)                                                                        \
	X(PANIC_STACK_SWITCH)                                                                      \
	X(DATA_BUS_ERROR)                                                                          \
	X(INSTRUCTION_BUS_ERROR)                                                                   \
	X(CACHE_MANAGER)                                                                           \
	X(NO_MORE_IRP_STACK_LOCATIONS)                                                             \
	X(DEVICE_REFERENCE_COUNT_NOT_ZERO)                                                         \
	X(FLOPPY_INTERNAL_ERROR)                                                                   \
	X(SERIAL_DRIVER_INTERNAL)                                                                  \
	X(SYSTEM_EXIT_OWNED_MUTEX)                                                                 \
	X(SYSTEM_UNWIND_PREVIOUS_USER)                                                             \
	X(SYSTEM_SERVICE_EXCEPTION)                                                                \
	X(INTERRUPT_UNWIND_ATTEMPTED)                                                              \
	X(INTERRUPT_EXCEPTION_NOT_HANDLED)                                                         \
	X(MULTIPROCESSOR_CONFIGURATION_NOT_SUPPORTED)                                              \
	X(NO_MORE_SYSTEM_PTES)                                                                     \
	X(TARGET_MDL_TOO_SMALL)                                                                    \
	X(MUST_SUCCEED_POOL_EMPTY)                                                                 \
	X(MULTIPLE_IRP_COMPLETE_REQUESTS)                                                          \
	X(INSUFFICIENT_SYSTEM_MAP_REGS)                                                            \
	X(CANCEL_STATE_IN_COMPLETED_IRP)                                                           \
	X(PAGE_FAULT_WITH_INTERRUPTS_OFF)                                                          \
	X(IRQL_GT_ZERO_AT_SYSTEM_SERVICE)                                                          \
	X(FATAL_UNHANDLED_HARD_ERROR)                                                              \
	X(NO_PAGES_AVAILABLE)                                                                      \
	X(PFN_LIST_CORRUPT)                                                                        \
	X(NDIS_INTERNAL_ERROR)                                                                     \
	X(PAGE_FAULT_IN_NONPAGED_AREA)                                                             \
	X(REGISTRY_ERROR)                                                                          \
	X(CRITICAL_SERVICE_FAILED)                                                                 \
	X(IO1_INITIALIZATION_FAILED)                                                               \
	X(SESSION3_INITIALIZATION_FAILED)                                                          \
	X(CONFIG_LIST_FAILED)                                                                      \
	X(PROCESS_HAS_LOCKED_PAGES)                                                                \
	X(KERNEL_STACK_INPAGE_ERROR)                                                               \
	X(KERNEL_DATA_INPAGE_ERROR)                                                                \
	X(INACCESSIBLE_BOOT_DEVICE)                                                                \
	X(BUGCODE_NDIS_DRIVER)                                                                     \
	X(SYSTEM_THREAD_EXCEPTION_NOT_HANDLED)                                                     \
	X(UNEXPECTED_KERNEL_MODE_TRAP)                                                             \
	X(NMI_HARDWARE_FAILURE)                                                                    \
	X(SPIN_LOCK_INIT_FAILURE)                                                                  \
	X(SETUP_FAILURE)                                                                           \
	X(MBR_CHECKSUM_MISMATCH)                                                                   \
	X(KERNEL_MODE_EXCEPTION_NOT_HANDLED)                                                       \
	X(INVALID_WORK_QUEUE_ITEM)                                                                 \
	X(BOUND_IMAGE_UNSUPPORTED)                                                                 \
	X(MACHINE_CHECK_EXCEPTION)                                                                 \
	X(DRIVER_POWER_STATE_FAILURE)                                                              \
	X(INTERNAL_POWER_ERROR)                                                                    \
	X(ACPI_BIOS_ERROR)                                                                         \
	X(ATTEMPTED_SWITCH_FROM_DPC)                                                               \
	X(ATTEMPTED_WRITE_TO_READONLY_MEMORY)                                                      \
	X(MUTEX_ALREADY_OWNED)                                                                     \
	X(SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION)                                                 \
	X(BAD_POOL_CALLER)                                                                         \
	X(DRIVER_VERIFIER_DETECTED_VIOLATION)                                                      \
	X(DRIVER_CORRUPTED_EXPOOL)                                                                 \
	X(DRIVER_CAUGHT_MODIFYING_FREED_POOL)                                                      \
	X(TIMER_OR_DPC_INVALID)                                                                    \
	X(IRQL_UNEXPECTED_VALUE)                                                                   \
	X(DRIVER_VERIFIER_IOMANAGER_VIOLATION)                                                     \
	X(PNP_DETECTED_FATAL_ERROR)                                                                \
	X(DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS)                                                     \
	X(PAGE_FAULT_IN_FREED_SPECIAL_POOL)                                                        \
	X(PAGE_FAULT_BEYOND_END_OF_ALLOCATION)                                                     \
	X(DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS)                                   \
	X(TERMINAL_SERVER_DRIVER_MADE_INCORRECT_MEMORY_REFERENCE)                                  \
	X(DRIVER_CORRUPTED_MMPOOL)                                                                 \
	X(DRIVER_IRQL_NOT_LESS_OR_EQUAL)                                                           \
	X(DRIVER_PORTION_MUST_BE_NONPAGED)                                                         \
	X(SYSTEM_SCAN_AT_RAISED_IRQL_CAUGHT_IMPROPER_DRIVER_UNLOAD)                                \
	X(DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL)                                                 \
	X(DRIVER_PAGE_FAULT_BEYOND_END_OF_ALLOCATION)                                              \
	X(DRIVER_UNMAPPING_INVALID_VIEW)                                                           \
	X(DRIVER_USED_EXCESSIVE_PTES)                                                              \
	X(LOCKED_PAGES_TRACKER_CORRUPTION)                                                         \
	X(SYSTEM_PTE_MISUSE)                                                                       \
	X(DRIVER_CORRUPTED_SYSPTES)                                                                \
	X(DRIVER_INVALID_STACK_ACCESS)                                                             \
	X(POOL_CORRUPTION_IN_FILE_AREA)                                                            \
	X(WORKER_THREAD_RETURNED_AT_BAD_IRQL)                                                      \
	X(MANUALLY_INITIATED_CRASH)                                                                \
	X(RESOURCE_NOT_OWNED)                                                                      \
	X(WORKER_INVALID)                                                                          \
	X(DRIVER_VERIFIER_DMA_VIOLATION)                                                           \
	X(INVALID_FLOATING_POINT_STATE)                                                            \
	X(INVALID_CANCEL_OF_FILE_OPEN)                                                             \
	X(ACTIVE_EX_WORKER_THREAD_TERMINATION)                                                     \
	X(THREAD_STUCK_IN_DEVICE_DRIVER)                                                           \
	X(DIRTY_MAPPED_PAGES_CONGESTION)                                                           \
	X(CRITICAL_PROCESS_DIED)                                                                   \
	X(SCSI_VERIFIER_DETECTED_VIOLATION)                                                        \
	X(DISORDERLY_SHUTDOWN)                                                                     \
	X(CRITICAL_OBJECT_TERMINATION)                                                             \
	X(PCI_VERIFIER_DETECTED_VIOLATION)                                                         \
	X(DRIVER_OVERRAN_STACK_BUFFER)                                                             \
	X(ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY)                                                   \
	X(BUGCODE_USB_DRIVER)                                                                      \
	X(RESERVE_QUEUE_OVERFLOW)                                                                  \
	X(LOADER_BLOCK_MISMATCH)                                                                   \
	X(CLOCK_WATCHDOG_TIMEOUT)                                                                  \
	X(CRITICAL_STRUCTURE_CORRUPTION)                                                           \
	X(WDF_VIOLATION)                                                                           \
	X(RECURSIVE_NMI)                                                                           \
	X(VIDEO_SCHEDULER_INTERNAL_ERROR)                                                          \
	X(EVENT_TRACING_FATAL_ERROR)                                                               \
	X(DRIVER_VIOLATION)                                                                        \
	X(WHEA_UNCORRECTABLE_ERROR)                                                                \
	X(FAULTY_HARDWARE_CORRUPTED_PAGE)                                                          \
	X(DYNAMIC_ADD_PROCESSOR_MISMATCH)                                                          \
	X(DPC_WATCHDOG_VIOLATION)                                                                  \
	X(KERNEL_SECURITY_CHECK_FAILURE)                                                           \
	X(KERNEL_MODE_HEAP_CORRUPTION)                                                             \
	X(KERNEL_LOCK_ENTRY_LEAKED_ON_THREAD_TERMINATION)                                          \
	X(UNEXPECTED_STORE_EXCEPTION)                                                              \
	X(KERNEL_THREAD_PRIORITY_FLOOR_VIOLATION)                                                  \
	X(WIN32K_ATOMIC_CHECK_FAILURE)                                                             \
	X(KERNEL_AUTO_BOOST_INVALID_LOCK_RELEASE)                                                  \
	X(SECURE_KERNEL_ERROR)                                                                     \
	X(KERNEL_AUTO_BOOST_LOCK_ACQUISITION_WITH_RAISED_IRQL)                                     \
	X(STORE_DATA_STRUCTURE_CORRUPTION)                                                         \
	X(SYNTHETIC_WATCHDOG_TIMEOUT)                                                              \
	X(PROCESSOR_START_TIMEOUT)

#define NAME(code) {code, #code},

const char *ke_bugcheck_name(ULONG code)
{
	static const struct {
		ULONG code;
		const char *name;
	} names[] = {CODES(NAME)};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].code == code) {
			return names[i].name;
		}
	}
	return 0;
}
