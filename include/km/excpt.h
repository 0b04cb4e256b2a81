/* SPDX-License-Identifier: MIT
 *
 * Structured exception handling: names around the compiler's __try, __except, __finally.
 */
#pragma once
#include "wdm/context.h"

#define EXCEPTION_EXECUTE_HANDLER    1
#define EXCEPTION_CONTINUE_SEARCH    0
#define EXCEPTION_CONTINUE_EXECUTION (-1)

#if defined(_MSC_VER) || (defined(__clang__) && defined(_WIN32))
#define GetExceptionCode()        _exception_code()
#define exception_code()          _exception_code()
#define GetExceptionInformation() ((PEXCEPTION_POINTERS)_exception_info())
#define exception_info()          GetExceptionInformation()
#define AbnormalTermination()     _abnormal_termination()
#define abnormal_termination()    _abnormal_termination()
#endif
