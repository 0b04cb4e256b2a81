/* SPDX-License-Identifier: MIT */
/*
 * DEF-129..314: every DDI that the survey found in drivers is declared, as a function or as the
 * macro that the documents describe. The prototypes themselves are in prototype_asserts.c.
 */
#include <ntifs.h>
#include "asserts.h"

#if OURS
#include <ip2string.h>
#include <ntstrsafe.h>
#include <ntsysinfo.h>

#define FUNCTION(name) CHECK(sizeof(&(name)) == 8)
#define VARIABLE(name) CHECK(sizeof(name) > 0)

FUNCTION(KeWaitForSingleObject);                            /* DEF-130 */
FUNCTION(ExFreePoolWithTag);                                /* DEF-131 */
FUNCTION(KeDelayExecutionThread);                           /* DEF-132 */
FUNCTION(KeInitializeEvent);                                /* DEF-133 */
FUNCTION(RtlInitUnicodeString);                             /* DEF-135 */
FUNCTION(KeGetCurrentThread);                               /* DEF-136 */
FUNCTION(KeQueryActiveProcessorCountEx);                    /* DEF-137 */
FUNCTION(DbgPrint);                                         /* DEF-138 */
FUNCTION(DbgPrintEx);                                       /* DEF-139 */
FUNCTION(ExAllocatePoolWithTag);                            /* DEF-140 */
FUNCTION(KeInitializeSpinLock);                             /* DEF-141 */
FUNCTION(KeSetEvent);                                       /* DEF-142 */
FUNCTION(KeInitializeDpc);                                  /* DEF-144 */
FUNCTION(MmGetSystemRoutineAddress);                        /* DEF-145 */
FUNCTION(ZwClose);                                          /* DEF-147 */
FUNCTION(ExFreePool);                                       /* DEF-148 */
FUNCTION(IoAllocateMdl);                                    /* DEF-149 */
FUNCTION(IoFreeMdl);                                        /* DEF-150 */
FUNCTION(KeGetCurrentIrql);                                 /* DEF-151 */
FUNCTION(KeGetCurrentProcessorNumberEx);                    /* DEF-152 */
FUNCTION(KeInsertQueueDpc);                                 /* DEF-153 */
FUNCTION(ObReferenceObjectByHandle);                        /* DEF-154 */
FUNCTION(PsCreateSystemThread);                             /* DEF-155 */
FUNCTION(IoCreateSymbolicLink);                             /* DEF-156 */
FUNCTION(IoDeleteDevice);                                   /* DEF-157 */
FUNCTION(IoGetCurrentIrpStackLocation);                     /* DEF-158 */
FUNCTION(PsTerminateSystemThread);                          /* DEF-159 */
FUNCTION(IoCreateDevice);                                   /* DEF-161 */
FUNCTION(IoDeleteSymbolicLink);                             /* DEF-162 */
FUNCTION(KeGetCurrentProcessorNumber);                      /* DEF-163 */
FUNCTION(KeGetProcessorNumberFromIndex);                    /* DEF-164 */
FUNCTION(KeLowerIrql);                                      /* DEF-165 */
FUNCTION(MmBuildMdlForNonPagedPool);                        /* DEF-166 */
FUNCTION(MmIsAddressValid);                                 /* DEF-167 */
FUNCTION(RtlCompareMemory);                                 /* DEF-168 */
FUNCTION(ZwCreateFile);                                     /* DEF-169 */
FUNCTION(ExAllocatePool);                                   /* DEF-170 */
FUNCTION(ExDeleteResourceLite);                             /* DEF-171 */
FUNCTION(ExInitializeResourceLite);                         /* DEF-172 */
FUNCTION(KeAcquireInStackQueuedSpinLock);                   /* DEF-173 */
FUNCTION(KeQueryActiveProcessorCount);                      /* DEF-174 */
FUNCTION(KeQuerySystemTime);                                /* DEF-175 */
FUNCTION(KeReleaseInStackQueuedSpinLock);                   /* DEF-176 */
FUNCTION(KeResetEvent);                                     /* DEF-177 */
FUNCTION(KeSetSystemGroupAffinityThread);                   /* DEF-178 */
FUNCTION(MmUnmapIoSpace);                                   /* DEF-179 */
FUNCTION(ExAcquireResourceExclusiveLite);                   /* DEF-181 */
FUNCTION(ExAllocatePool2);                                  /* DEF-182 */
FUNCTION(ExCreateCallback);                                 /* DEF-183 */
FUNCTION(ExRegisterCallback);                               /* DEF-184 */
FUNCTION(ExUnregisterCallback);                             /* DEF-185 */
FUNCTION(IoQueueWorkItem);                                  /* DEF-186 */
FUNCTION(KeAcquireSpinLockAtDpcLevel);                      /* DEF-187 */
FUNCTION(KeCancelTimer);                                    /* DEF-188 */
FUNCTION(KeClearEvent);                                     /* DEF-189 */
FUNCTION(KeEnterCriticalRegion);                            /* DEF-190 */
FUNCTION(KeFlushQueuedDpcs);                                /* DEF-191 */
FUNCTION(KeInitializeTimer);                                /* DEF-192 */
FUNCTION(KeLeaveCriticalRegion);                            /* DEF-193 */
FUNCTION(KeRaiseIrqlToDpcLevel);                            /* DEF-195 */
FUNCTION(KeReleaseSpinLock);                                /* DEF-196 */
FUNCTION(KeReleaseSpinLockFromDpcLevel);                    /* DEF-197 */
FUNCTION(KeRevertToUserGroupAffinityThread);                /* DEF-198 */
FUNCTION(KeSetTargetProcessorDpcEx);                        /* DEF-199 */
FUNCTION(KeSetTimer);                                       /* DEF-200 */
FUNCTION(MmGetPhysicalAddress);                             /* DEF-203 */
FUNCTION(MmGetPhysicalMemoryRanges);                        /* DEF-204 */
FUNCTION(MmMapIoSpace);                                     /* DEF-205 */
FUNCTION(MmMapLockedPagesSpecifyCache);                     /* DEF-206 */
FUNCTION(MmProbeAndLockPages);                              /* DEF-207 */
FUNCTION(ObOpenObjectByPointer);                            /* DEF-208 */
FUNCTION(PsGetCurrentThreadId);                             /* DEF-210 */
FUNCTION(PsLookupThreadByThreadId);                         /* DEF-211 */
FUNCTION(RtlAnsiStringToUnicodeString);                     /* DEF-212 */
FUNCTION(RtlCaptureStackBackTrace);                         /* DEF-213 */
FUNCTION(RtlFreeUnicodeString);                             /* DEF-214 */
FUNCTION(RtlGetVersion);                                    /* DEF-215 */
FUNCTION(RtlInitAnsiString);                                /* DEF-216 */
FUNCTION(ZwQueryInformationFile);                           /* DEF-217 */
FUNCTION(ZwQuerySystemInformation);                         /* DEF-218 */
FUNCTION(ZwWriteFile);                                      /* DEF-219 */
FUNCTION(ExAcquirePushLockExclusiveEx);                     /* DEF-220 */
FUNCTION(ExAcquireResourceSharedLite);                      /* DEF-221 */
FUNCTION(ExAcquireSharedStarveExclusive);                   /* DEF-222 */
FUNCTION(ExAcquireSharedWaitForExclusive);                  /* DEF-223 */
FUNCTION(ExAllocateFromLookasideListEx);                    /* DEF-224 */
FUNCTION(ExDeleteLookasideListEx);                          /* DEF-225 */
FUNCTION(ExDeleteNPagedLookasideList);                      /* DEF-226 */
FUNCTION(ExEnterCriticalRegionAndAcquireResourceExclusive); /* DEF-227 */
FUNCTION(ExFreeToLookasideListEx);                          /* DEF-228 */
FUNCTION(ExGetExclusiveWaiterCount);                        /* DEF-229 */
FUNCTION(ExGetPreviousMode);                                /* DEF-230 */
FUNCTION(ExGetSharedWaiterCount);                           /* DEF-231 */
FUNCTION(ExInitializeFastMutex);                            /* DEF-232 */
FUNCTION(ExInitializeLookasideListEx);                      /* DEF-233 */
FUNCTION(ExInitializeNPagedLookasideList);                  /* DEF-234 */
FUNCTION(ExInterlockedInsertTailList);                      /* DEF-235 */
FUNCTION(ExInterlockedRemoveHeadList);                      /* DEF-236 */
FUNCTION(ExIsResourceAcquiredExclusiveLite);                /* DEF-237 */
FUNCTION(ExIsResourceAcquiredSharedLite);                   /* DEF-238 */
FUNCTION(ExReleasePushLockExclusiveEx);                     /* DEF-239 */
FUNCTION(ExReleaseResourceAndLeaveCriticalRegion);          /* DEF-240 */
FUNCTION(ExReleaseResourceForThreadLite);                   /* DEF-241 */
FUNCTION(ExReleaseResourceLite);                            /* DEF-242 */
FUNCTION(ExSystemTimeToLocalTime);                          /* DEF-243 */
FUNCTION(IoAllocateIrp);                                    /* DEF-244 */
FUNCTION(IoAllocateWorkItem);                               /* DEF-245 */
FUNCTION(IoBuildSynchronousFsdRequest);                     /* DEF-246 */
FUNCTION(IoFreeIrp);                                        /* DEF-248 */
FUNCTION(IoFreeWorkItem);                                   /* DEF-249 */
FUNCTION(IoGetNextIrpStackLocation);                        /* DEF-250 */
FUNCTION(IoMarkIrpPending);                                 /* DEF-251 */
FUNCTION(IoSetCompletionRoutine);                           /* DEF-252 */
FUNCTION(KeAcquireInStackQueuedSpinLockAtDpcLevel);         /* DEF-253 */
FUNCTION(KeAreAllApcsDisabled);                             /* DEF-255 */
FUNCTION(KeAreApcsDisabled);                                /* DEF-256 */
FUNCTION(KeInitializeApc);                                  /* DEF-257 */
FUNCTION(KeInsertQueueApc);                                 /* DEF-258 */
FUNCTION(KeQueryMaximumProcessorCountEx);                   /* DEF-259 */
FUNCTION(KeQueryPerformanceCounter);                        /* DEF-260 */
FUNCTION(KeReadStateTimer);                                 /* DEF-261 */
FUNCTION(KeReleaseInStackQueuedSpinLockFromDpcLevel);       /* DEF-262 */
FUNCTION(KeRemoveQueueDpc);                                 /* DEF-263 */
FUNCTION(KeRevertToUserAffinityThreadEx);                   /* DEF-264 */
FUNCTION(KeSetImportanceDpc);                               /* DEF-265 */
FUNCTION(KeSetSystemAffinityThreadEx);                      /* DEF-266 */
FUNCTION(KeSetTargetProcessorDpc);                          /* DEF-267 */
FUNCTION(KeSetTimerEx);                                     /* DEF-268 */
FUNCTION(KeStackAttachProcess);                             /* DEF-269 */
FUNCTION(KeUnstackDetachProcess);                           /* DEF-270 */
FUNCTION(MmGetVirtualForPhysical);                          /* DEF-273 */
FUNCTION(MmUnlockPages);                                    /* DEF-274 */
FUNCTION(MmUnmapLockedPages);                               /* DEF-275 */
FUNCTION(NtClose);                                          /* DEF-276 */
FUNCTION(PsIsSystemThread);                                 /* DEF-277 */
FUNCTION(PsLookupProcessByProcessId);                       /* DEF-278 */
FUNCTION(RtlAppendUnicodeStringToString);                   /* DEF-279 */
FUNCTION(RtlCopyUnicodeString);                             /* DEF-280 */
FUNCTION(ZwOpenDirectoryObject);                            /* DEF-288 */
FUNCTION(ZwOpenKey);                                        /* DEF-289 */
FUNCTION(ZwOpenSection);                                    /* DEF-290 */
FUNCTION(ZwQueryValueKey);                                  /* DEF-291 */
FUNCTION(ZwReadFile);                                       /* DEF-292 */
FUNCTION(ExAcquireRundownProtectionEx);                     /* DEF-293 */
FUNCTION(ExInitializeRundownProtection);                    /* DEF-294 */
FUNCTION(ExNotifyCallback);                                 /* DEF-296 */
FUNCTION(ExQueueWorkItem);                                  /* DEF-297 */
FUNCTION(ExReleaseRundownProtectionEx);                     /* DEF-298 */
FUNCTION(ExWaitForRundownProtectionRelease);                /* DEF-299 */
FUNCTION(IoCreateDriver);                                   /* DEF-300 */
FUNCTION(IoOpenDeviceRegistryKey);                          /* DEF-301 */
FUNCTION(KeGetProcessorIndexFromNumber);                    /* DEF-302 */
FUNCTION(KeInitializeGuardedMutex);                         /* DEF-303 */
FUNCTION(KeIpiGenericCall);                                 /* DEF-304 */
FUNCTION(KeStallExecutionProcessor);                        /* DEF-305 */
FUNCTION(MmCopyMemory);                                     /* DEF-306 */
FUNCTION(ObReferenceObjectByName);                          /* DEF-307 */
FUNCTION(PsAcquireProcessExitSynchronization);              /* DEF-308 */
FUNCTION(RtlIpv4StringToAddressExW);                        /* DEF-309 */
FUNCTION(RtlLookupFunctionEntry);                           /* DEF-310 */
FUNCTION(RtlQueryModuleInformation);                        /* DEF-311 */
FUNCTION(RtlStringCbVPrintfA);                              /* DEF-312 */

#if !defined(InitializeObjectAttributes) || !defined(ObDereferenceObject) ||                       \
	!defined(IoCompleteRequest) || !defined(RtlZeroMemory) || !defined(RtlCopyMemory) ||       \
	!defined(PsGetCurrentProcess) || !defined(KeRaiseIrql) || !defined(MmGetMdlByteCount) ||   \
	!defined(MmGetMdlVirtualAddress) || !defined(PsGetCurrentThread) ||                        \
	!defined(IoCallDriver) || !defined(KeAcquireSpinLock) || !defined(MmGetMdlPfnArray) ||     \
	!defined(MmGetSystemAddressForMdlSafe) || !defined(ExInitializeWorkItem)
#error "a documented macro is missing"
#endif

/* DEF-314; drivers declare IoDriverObjectType, KeNumberProcessors and NtBuildNumber themselves */
VARIABLE(PsThreadType);
VARIABLE(PsProcessType);
VARIABLE(IoFileObjectType);
VARIABLE(ExEventObjectType);
VARIABLE(PsInitialSystemProcess);
VARIABLE(MmHighestUserAddress);
VARIABLE(MmUserProbeAddress);
VARIABLE(MmSystemRangeStart);
VARIABLE(KdDebuggerEnabled);
VARIABLE(KdDebuggerNotPresent);
#endif
