/* SPDX-License-Identifier: MIT */
/*
 * lam.c: logical address mappings: the pages of an MDL chain as the adapter sees them.
 *
 * IRQL <= DISPATCH_LEVEL, no locks. Logical addresses are the model's physical ones, which never
 * change while the pages are locked, so a mapping refers to nothing: the MDL may go at once
 * (DEF-88). What its release finds is lam_use.c's, while the verifier is on.
 *
 * Implements NDK-15, NDK-41, NDK-42, NDK-134, DEF-4, DEF-87, DEF-88. Chosen: a buffer of the exact
 * size suffices; *pLamSize is set to what is needed on success too.
 */
#include "ndk/lam.h"
#include "mm/mm.h"
#include "ndk/region.h"

/* AdapterContext of a mapping that is built while the verifier is off. */
static char built;

static void write_pages(NDK_LOGICAL_ADDRESS_MAPPING *lam, const struct ndk_backing *backing,
			size_t count)
{
	const char *first = backing->base - backing->offset;
	for (size_t i = 0; i < count; i++) {
		const char *page = backing->base ? first + i * NDK_PAGE_SIZE : backing->pages[i];
		lam->AdapterPageArray[i].QuadPart = (LONGLONG)mm_physical_of(page);
	}
	lam->AdapterPageCount = (ULONG)count;
}

/* STATUS_SUCCESS: *lam is filled. */
static NTSTATUS build(struct ndk_adapter *adapter, MDL *mdl, SIZE_T length,
		      NDK_LOGICAL_ADDRESS_MAPPING *lam, ULONG *size, ULONG *fbo, uint64_t caller)
{
	struct ndk_backing backing;
	bool unlocked;
	NTSTATUS status = ndk_backing_of_mdl(mdl, length, &backing, &unlocked);
	if (unlocked)
		vf_report(VF_NdkPages, "NdkBuildLAM", caller, (uint64_t)mdl,
			  "maps the MDL %p, whose pages are not locked (flags 0x%04x)", mdl,
			  (USHORT)mdl->MdlFlags);
	if (!NT_SUCCESS(status))
		return status;
	backing.offset = mdl->ByteOffset;
	size_t count = (backing.offset + length + NDK_PAGE_SIZE - 1) / NDK_PAGE_SIZE;
	size_t needed = offsetof(NDK_LOGICAL_ADDRESS_MAPPING, AdapterPageArray) +
			count * sizeof(NDK_LOGICAL_ADDRESS);
	ULONG room = *size;
	*size = (ULONG)needed;
	if (!lam || room < needed) {
		status = STATUS_BUFFER_TOO_SMALL;
	} else {
		write_pages(lam, &backing, count);
		*fbo = backing.offset;
		lam->AdapterContext = vf_on() ? (void *)ndk_lam_remember(adapter, lam) : &built;
		if (!lam->AdapterContext)
			status = STATUS_INSUFFICIENT_RESOURCES;
	}
	ndk_backing_free(&backing);
	return status;
}

/*
 * The logical pages of the first Length bytes of an MDL chain. IRQL <= DISPATCH_LEVEL.
 * *pNdkLAMSize: bytes of *pNdkLAM, then what is needed; *pFBO: offset in the first page.
 * STATUS_SUCCESS, STATUS_PENDING; STATUS_INVALID_PARAMETER: no MDL, not locked, too short, not
 * virtually contiguous; STATUS_BUFFER_TOO_SMALL; STATUS_NOT_SUPPORTED: memory of a user process;
 * STATUS_INSUFFICIENT_RESOURCES. (NDK-41)
 */
NTSTATUS NTAPI ndk_build_lam(NDK_ADAPTER *pNdkAdapter, MDL *Mdl, SIZE_T Length,
			     NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext,
			     NDK_LOGICAL_ADDRESS_MAPPING *pNdkLAM, ULONG *pNdkLAMSize, ULONG *pFBO)
{
	struct ndk_adapter *adapter = (struct ndk_adapter *)pNdkAdapter;
	uint64_t caller = NDK_CALLER();
	NTSTATUS status;
	if (!ndk_object_enter(adapter, NdkObjectTypeAdapter, "NdkBuildLAM", caller))
		return STATUS_INVALID_DEVICE_STATE;
	bool refused = ndk_must_fail(NDK_FUNCTION_BuildLAM, &status);
	if (!refused)
		status = build(adapter, Mdl, Length, pNdkLAM, pNdkLAMSize, pFBO, caller);
	if (NT_SUCCESS(status) || refused)
		status = ndk_request_done(adapter, RequestCompletion, RequestContext, status,
					  caller);
	ndk_object_leave(adapter);
	return status;
}

/* The mapping is not used any more. IRQL <= DISPATCH_LEVEL. (NDK-42) */
VOID NTAPI ndk_release_lam(NDK_ADAPTER *pNdkAdapter, NDK_LOGICAL_ADDRESS_MAPPING *pNdkLAM)
{
	static const char function[] = "NdkReleaseLAM";
	struct ndk_adapter *adapter = (struct ndk_adapter *)pNdkAdapter;
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(adapter, NdkObjectTypeAdapter, function, caller))
		return;
	if (vf_on())
		ndk_lam_forget(adapter, pNdkLAM, caller);
	else if (pNdkLAM)
		pNdkLAM->AdapterContext = NULL;
	ndk_object_leave(adapter);
}
