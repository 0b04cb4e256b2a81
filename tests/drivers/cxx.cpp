/* SPDX-License-Identifier: MIT */
/* C++: virtual functions, a callback that returns bool, __try in a function, sections by #pragma alloc_text, a multi-character tag. */
#include "check.h"

extern "C" DRIVER_INITIALIZE DriverEntry;
extern "C" DRIVER_UNLOAD Unload;
#pragma alloc_text(INIT, DriverEntry)
#pragma alloc_text(PAGE, Unload)

namespace
{
class Counter
{
      public:
	virtual int next()
	{
		return ++value;
	}
	int value = 0;
};

class Twice final : public Counter
{
      public:
	int next() override
	{
		return value += 2;
	}
};

Twice counter;

/* `bool` where BOOLEAN is declared: only AL is valid (DEF-25). */
bool NTAPI on_nmi(void *context, unsigned char handled)
{
	(void)handled;
	static_cast<Counter *>(context)->next();
	return true;
}
PVOID registration;
} // namespace

extern "C" VOID NTAPI Unload(PDRIVER_OBJECT)
{
	PAGED_CODE();
	CHECK(counter.value == 6, "DEF-25 three NMIs, counted by a virtual function");
	CHECK(KeDeregisterNmiCallback(registration) == STATUS_SUCCESS, "NMI-11 and deregistered");
}

extern "C" NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING)
{
	volatile bool caught = false;
	driver->DriverUnload = Unload;
	__try {
		ExRaiseStatus(STATUS_NO_MEMORY);
	} __except (GetExceptionCode() == STATUS_NO_MEMORY ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
		caught = true;
	}
	CHECK(caught, "DEF-332 __except in C++");
	CHECK('abcd' == 0x61626364, "a multi-character constant");
	registration = KeRegisterNmiCallback(reinterpret_cast<PNMI_CALLBACK>(on_nmi), &counter);
	CHECK(registration != nullptr, "NMI-5 a handle");
	return check_result();
}
