/* SPDX-License-Identifier: MIT */
/*
 * A driver in C++17: classes, templates, operators new and delete over the pool, processor changes,
 * PnP arrival (PRC-48), bound callbacks, NMI callbacks that return bool (DEF-25). Compiled and
 * linked, not run.
 */
#include <initguid.h>
extern "C" {
#include <ntddk.h>
#include <poclass.h>
DRIVER_INITIALIZE DriverEntry;
}

void *operator new(size_t size, POOL_FLAGS flags, ULONG tag) noexcept
{
	return ExAllocatePool2(flags, size, tag);
}

void operator delete(void *block) noexcept
{
	if (block)
		ExFreePool(block);
}

void operator delete(void *block, size_t) noexcept
{
	if (block)
		ExFreePool(block);
}

namespace
{
class Guard
{
	PKSPIN_LOCK lock;
	KIRQL old;

      public:
	explicit Guard(PKSPIN_LOCK which) : lock(which)
	{
		KeAcquireSpinLock(lock, &old);
	}
	~Guard()
	{
		KeReleaseSpinLock(lock, old);
	}
};

template <class T> constexpr T Smaller(T one, T two)
{
	return one < two ? one : two;
}
static_assert(Smaller<KIRQL>(APC_LEVEL, DISPATCH_LEVEL) == APC_LEVEL);

class Watch
{
	PVOID changes = nullptr, arrivals = nullptr, nmi = nullptr, bound = nullptr;
	KSPIN_LOCK lock = 0;
	ULONG highest = 0;

	static VOID NTAPI Changed(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change,
				  PNTSTATUS status)
	{
		auto self = static_cast<Watch *>(context);
		Guard guard(&self->lock);
		if (change->State == KeProcessorAddStartNotify && change->NtNumber > 1000)
			*status = STATUS_INSUFFICIENT_RESOURCES;
		self->highest = change->NtNumber;
	}

	static NTSTATUS NTAPI Arrived(PVOID notification, PVOID)
	{
		auto change = static_cast<PDEVICE_INTERFACE_CHANGE_NOTIFICATION>(notification);
		if (IsEqualGUID(change->Event, GUID_DEVICE_INTERFACE_ARRIVAL))
			DbgPrint("%wZ\n", change->SymbolicLinkName);
		return change->InterfaceClassGuid == GUID_DEVICE_PROCESSOR ? STATUS_SUCCESS
									   : STATUS_UNSUCCESSFUL;
	}

	static bool Nmi(PVOID, bool handled)
	{
		return handled;
	}

	static BOUND_CALLBACK_STATUS NTAPI Bound()
	{
#ifdef _MSC_VER
		__try {
			return *(volatile int *)0x10000 ? BoundExceptionHandled
							: BoundExceptionContinueSearch;
		} __except (EXCEPTION_EXECUTE_HANDLER) {
			return BoundExceptionError;
		}
#else
		return BoundExceptionContinueSearch;
#endif
	}

      public:
	NTSTATUS Start(PDRIVER_OBJECT driver)
	{
		changes = KeRegisterProcessorChangeCallback(Changed, this,
							    KE_PROCESSOR_CHANGE_ADD_EXISTING);
		nmi = KeRegisterNmiCallback(
			reinterpret_cast<PNMI_CALLBACK>(reinterpret_cast<PVOID>(Nmi)), this);
		bound = KeRegisterBoundCallback(Bound);
		return IoRegisterPlugPlayNotification(EventCategoryDeviceInterfaceChange, 0,
						      const_cast<GUID *>(&GUID_DEVICE_PROCESSOR),
						      driver, Arrived, this, &arrivals);
	}

	~Watch()
	{
		if (arrivals)
			IoUnregisterPlugPlayNotificationEx(arrivals);
		if (changes)
			KeDeregisterProcessorChangeCallback(changes);
		KeDeregisterBoundCallback(bound);
		KeDeregisterNmiCallback(nmi);
	}
};

Watch *watch;
UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Callback\\ProcessorAdd");
} // namespace

static VOID NTAPI Unload(PDRIVER_OBJECT)
{
	delete watch;
}

extern "C" NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING)
{
	PCALLBACK_OBJECT object;
	OBJECT_ATTRIBUTES attributes = RTL_CONSTANT_OBJECT_ATTRIBUTES(&name, OBJ_CASE_INSENSITIVE);
	driver->DriverUnload = Unload;
	if (NT_SUCCESS(ExCreateCallback(&object, &attributes, FALSE, TRUE)))
		ObDereferenceObject(object);
	watch = new (POOL_FLAG_NON_PAGED, 'hctW') Watch;
	return watch ? watch->Start(driver) : STATUS_INSUFFICIENT_RESOURCES;
}
