/* SPDX-License-Identifier: MIT */
/*
 * netio_registry.c: the second way to find an interface (DEF-75): a REG_DWORD of the service's key,
 * read by ZwOpenKey and ZwQueryValueKey; the adapter of that index is opened.
 */
#include "check.h"
#include <wskndk.h>

static const WSK_CLIENT_DISPATCH dispatch = {MAKE_WSK_VERSION(1, 0), 0, NULL};

static ULONG read_index(PUNICODE_STRING path)
{
	union {
		KEY_VALUE_PARTIAL_INFORMATION value;
		UCHAR room[32];
	} buffer;
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"Interface");
	OBJECT_ATTRIBUTES attributes;
	HANDLE key;
	ULONG size, index = 0;
	InitializeObjectAttributes(&attributes, path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
				   NULL, NULL);
	if (!NT_SUCCESS(ZwOpenKey(&key, KEY_READ, &attributes)))
		return 0;
	if (NT_SUCCESS(ZwQueryValueKey(key, &name, KeyValuePartialInformation, &buffer,
				       sizeof(buffer), &size)) &&
	    buffer.value.Type == REG_DWORD && buffer.value.DataLength == 4)
		index = *(ULONG UNALIGNED *)buffer.value.Data;
	ZwClose(key);
	return index;
}

DRIVER_UNLOAD OnUnload;
VOID NTAPI OnUnload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	WSK_CLIENT_NPI client = {NULL, &dispatch};
	WSK_PROVIDER_NDK_DISPATCH ndk;
	NDK_VERSION version = {1, 0};
	WSK_REGISTRATION registration;
	NDK_ADAPTER *adapter = NULL;
	WSK_PROVIDER_NPI npi;
	driver->DriverUnload = OnUnload;
	ULONG index = read_index(path);
	CHECK(index == 70001, "DEF-75 the index from the registry");
	WskRegister(&client, &registration);
	WskCaptureProviderNPI(&registration, WSK_INFINITE_WAIT, &npi);
	npi.Dispatch->WskControlClient(npi.Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0, NULL,
				       sizeof(ndk), &ndk, NULL, NULL);
	CHECK(ndk.WskOpenNdkAdapter(npi.Client, version, index, &adapter) == STATUS_SUCCESS,
	      "DEF-75 an adapter of any index");
	if (adapter)
		ndk.WskCloseNdkAdapter(npi.Client, adapter);
	WskReleaseProviderNPI(&registration);
	WskDeregister(&registration);
	return check_result();
}
