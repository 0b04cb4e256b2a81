/* SPDX-License-Identifier: MIT */
/* The registry (DEF-75, DEF-289, DEF-291, DEF-301) and the Rtl functions over it. Run with
 * --reg=Number=7 --reg=Text=hello --reg=Bytes=hex:0102ff. */
#include "check.h"

static UNICODE_STRING service_key;

static UNICODE_STRING text(PCWSTR characters)
{
	UNICODE_STRING string;
	RtlInitUnicodeString(&string, characters);
	return string;
}

static NTSTATUS open_key(PUNICODE_STRING name, HANDLE root, HANDLE *key)
{
	OBJECT_ATTRIBUTES attributes;
	InitializeObjectAttributes(&attributes, name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
				   root, NULL);
	return ZwOpenKey(key, KEY_ALL_ACCESS, &attributes);
}

static NTSTATUS create_key(PCWSTR characters, HANDLE root, HANDLE *key, ULONG *disposition)
{
	OBJECT_ATTRIBUTES attributes;
	UNICODE_STRING name = text(characters);
	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
				   root, NULL);
	return ZwCreateKey(key, KEY_ALL_ACCESS, &attributes, 0, NULL, REG_OPTION_VOLATILE,
			   disposition);
}

static union {
	KEY_VALUE_PARTIAL_INFORMATION partial;
	KEY_VALUE_FULL_INFORMATION full;
	KEY_VALUE_BASIC_INFORMATION basic;
	KEY_BASIC_INFORMATION key;
	KEY_FULL_INFORMATION key_full;
	UCHAR bytes[512];
} info;

static void given_values(HANDLE key)
{
	UNICODE_STRING name = text(L"number"), absent = text(L"Absent");
	ULONG length = 0;
	CHECK(ZwQueryValueKey(key, &name, KeyValuePartialInformation, &info, sizeof(info),
			      &length) == STATUS_SUCCESS &&
		      info.partial.Type == REG_DWORD && info.partial.DataLength == 4 &&
		      length == 16 && *(ULONG *)info.partial.Data == 7,
	      "DEF-75 --reg=Number=7 is a REG_DWORD");
	CHECK(ZwQueryValueKey(key, &name, KeyValuePartialInformation, &info, 4, &length) ==
			      STATUS_BUFFER_TOO_SMALL &&
		      length == 16,
	      "DEF-291 less than the fixed part is STATUS_BUFFER_TOO_SMALL, with the length");
	info.partial.Data[0] = 0;
	CHECK(ZwQueryValueKey(key, &name, KeyValuePartialInformation, &info, 13, &length) ==
			      STATUS_BUFFER_OVERFLOW &&
		      length == 16 && info.partial.DataLength == 4 && info.partial.Data[0] == 7,
	      "DEF-291 less than the data is STATUS_BUFFER_OVERFLOW");
	CHECK(ZwQueryValueKey(key, &name, KeyValueFullInformation, &info, sizeof(info), &length) ==
			      STATUS_SUCCESS &&
		      info.full.NameLength == 12 && info.full.DataLength == 4 &&
		      *(ULONG *)(info.bytes + info.full.DataOffset) == 7,
	      "KeyValueFullInformation");
	CHECK(ZwQueryValueKey(key, &name, KeyValueBasicInformation, &info, sizeof(info), &length) ==
			      STATUS_SUCCESS &&
		      info.basic.NameLength == 12 && info.basic.Name[0] == L'N',
	      "KeyValueBasicInformation has the name as it was made");
	CHECK(ZwQueryValueKey(key, &absent, KeyValuePartialInformation, &info, sizeof(info),
			      &length) == STATUS_OBJECT_NAME_NOT_FOUND,
	      "an absent value");
	name = text(L"Text");
	CHECK(ZwQueryValueKey(key, &name, KeyValuePartialInformation, &info, sizeof(info),
			      &length) == STATUS_SUCCESS &&
		      info.partial.Type == REG_SZ && info.partial.DataLength == 12 &&
		      !wcscmp((PWSTR)info.partial.Data, L"hello"),
	      "--reg=Text=hello is a REG_SZ with its terminator");
	name = text(L"Bytes");
	CHECK(ZwQueryValueKey(key, &name, KeyValuePartialInformation, &info, sizeof(info),
			      &length) == STATUS_SUCCESS &&
		      info.partial.Type == REG_BINARY && info.partial.DataLength == 3 &&
		      info.partial.Data[2] == 0xff,
	      "--reg=Bytes=hex:0102ff is a REG_BINARY");
}

static void values(HANDLE service)
{
	HANDLE key, again;
	ULONG disposition = 0, length, data = 5;
	UNICODE_STRING name = text(L"Value"), other = text(L"Other"), unnamed = {0, 0, NULL};
	CHECK(create_key(L"Parameters", service, &key, &disposition) == STATUS_SUCCESS &&
		      disposition == REG_CREATED_NEW_KEY,
	      "ZwCreateKey relative to a key");
	CHECK(create_key(L"parameters", service, &again, &disposition) == STATUS_SUCCESS &&
		      disposition == REG_OPENED_EXISTING_KEY,
	      "the second time it opens");
	CHECK(create_key(L"none\\deep", service, &again, &disposition) ==
		      STATUS_OBJECT_NAME_NOT_FOUND,
	      "only the last component is made");
	CHECK(ZwSetValueKey(key, &name, 0, REG_DWORD, &data, 4) == STATUS_SUCCESS, "ZwSetValueKey");
	CHECK(ZwSetValueKey(key, &other, 0, REG_QWORD, &info, 8) == STATUS_SUCCESS,
	      "another value");
	CHECK(ZwSetValueKey(key, &unnamed, 0, REG_NONE, NULL, 0) == STATUS_SUCCESS,
	      "the unnamed value, empty");
	data = 6;
	ZwSetValueKey(key, &name, 0, REG_DWORD, &data, 4);
	CHECK(ZwEnumerateValueKey(key, 0, KeyValueFullInformation, &info, sizeof(info), &length) ==
			      STATUS_SUCCESS &&
		      info.full.Name[0] == L'V' &&
		      *(ULONG *)(info.bytes + info.full.DataOffset) == 6,
	      "a replaced value keeps its place");
	CHECK(ZwEnumerateValueKey(key, 2, KeyValueBasicInformation, &info, sizeof(info), &length) ==
			      STATUS_SUCCESS &&
		      info.basic.NameLength == 0,
	      "ZwEnumerateValueKey");
	CHECK(ZwEnumerateValueKey(key, 3, KeyValueBasicInformation, &info, sizeof(info), &length) ==
		      STATUS_NO_MORE_ENTRIES,
	      "STATUS_NO_MORE_ENTRIES");
	CHECK(ZwQueryKey(key, KeyFullInformation, &info, sizeof(info), &length) == STATUS_SUCCESS &&
		      info.key_full.Values == 3 && info.key_full.SubKeys == 0 &&
		      info.key_full.MaxValueNameLen == 10 && info.key_full.MaxValueDataLen == 8,
	      "ZwQueryKey, KeyFullInformation");
	CHECK(ZwDeleteValueKey(key, &other) == STATUS_SUCCESS &&
		      ZwDeleteValueKey(key, &other) == STATUS_OBJECT_NAME_NOT_FOUND,
	      "ZwDeleteValueKey");
	CHECK(ZwDeleteKey(service) == STATUS_CANNOT_DELETE, "a key with subkeys cannot be deleted");
	CHECK(ZwEnumerateKey(service, 0, KeyBasicInformation, &info, sizeof(info), &length) ==
			      STATUS_SUCCESS &&
		      info.key.NameLength == 20,
	      "ZwEnumerateKey");
	CHECK(ZwEnumerateKey(service, 1, KeyBasicInformation, &info, sizeof(info), &length) ==
		      STATUS_NO_MORE_ENTRIES,
	      "the only one");
	CHECK(ZwFlushKey(key) == STATUS_SUCCESS, "ZwFlushKey");
	CHECK(ZwDeleteKey(key) == STATUS_SUCCESS, "ZwDeleteKey");
	CHECK(ZwQueryValueKey(again, &name, KeyValueBasicInformation, &info, sizeof(info),
			      &length) == STATUS_KEY_DELETED,
	      "a handle of a deleted key");
	ZwClose(again);
	ZwClose(key);
}

static void join(PWSTR to, PCWSTR one, PCWSTR two)
{
	while (*one)
		*to++ = *one++;
	while (*two)
		*to++ = *two++;
	*to = 0;
}

static ULONG calls;

static NTSTATUS NTAPI query(PWSTR name, ULONG type, PVOID data, ULONG length, PVOID context,
			    PVOID entry)
{
	UNREFERENCED_PARAMETER(length);
	if (context == &calls && entry == (PVOID)3 && name && data &&
	    (type == REG_SZ || type == REG_DWORD))
		calls++;
	return STATUS_SUCCESS;
}

static void rtl(PCWSTR service)
{
	ULONG number = 99, missing = 42, defaulted = 11;
	UNICODE_STRING string = {0};
	WCHAR buffer[8];
	UNICODE_STRING fixed = {0, sizeof(buffer), buffer};
	WCHAR list[] = L"one\0two\0";
	RTL_QUERY_REGISTRY_TABLE direct[] = {
		{NULL, RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK, L"Number", &number,
		 (REG_DWORD << 24) | REG_NONE, NULL, 0},
		{NULL, RTL_QUERY_REGISTRY_DIRECT, L"Missing", &missing, REG_DWORD, &defaulted, 4},
		{NULL, RTL_QUERY_REGISTRY_DIRECT, L"Text", &string, REG_NONE, NULL, 0},
		{NULL, RTL_QUERY_REGISTRY_DIRECT, L"Text", &fixed, REG_NONE, NULL, 0},
		{0},
	};
	RTL_QUERY_REGISTRY_TABLE mismatch[] = {
		{NULL, RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK, L"Text", &number,
		 REG_DWORD << 24, NULL, 0},
		{0},
	};
	RTL_QUERY_REGISTRY_TABLE required[] = {
		{query, RTL_QUERY_REGISTRY_REQUIRED, L"Missing", (PVOID)3, REG_NONE, NULL, 0},
		{0},
	};
	RTL_QUERY_REGISTRY_TABLE all[] = {
		{query, RTL_QUERY_REGISTRY_SUBKEY, L"Sub", (PVOID)3, REG_NONE, NULL, 0},
		{query, 0, L"Number", (PVOID)3, REG_DWORD, &defaulted,
		 4}, /* still of Sub: the default */
		{query, RTL_QUERY_REGISTRY_TOPKEY, L"Number", (PVOID)3, REG_NONE, NULL, 0},
		{0},
	};
	CHECK(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, service, direct, NULL, NULL) ==
		      STATUS_SUCCESS,
	      "RtlQueryRegistryValues, direct");
	CHECK(number == 7, "a number");
	CHECK(missing == 11, "a default");
	CHECK(string.Length == 10 && string.MaximumLength == 12 && !wcscmp(string.Buffer, L"hello"),
	      "a string in pool of its own");
	CHECK(fixed.Length == 10 && !wcscmp(buffer, L"hello"), "a string in the caller's buffer");
	RtlFreeUnicodeString(&string);
	CHECK(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, service, mismatch, NULL, NULL) ==
		      STATUS_OBJECT_TYPE_MISMATCH,
	      "RTL_QUERY_REGISTRY_TYPECHECK");
	CHECK(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, service, required, &calls, NULL) ==
		      STATUS_OBJECT_NAME_NOT_FOUND,
	      "RTL_QUERY_REGISTRY_REQUIRED");
	WCHAR sub[200];
	join(sub, service, L"\\Sub");
	CHECK(RtlCheckRegistryKey(RTL_REGISTRY_SERVICES, sub) == STATUS_OBJECT_NAME_NOT_FOUND,
	      "RtlCheckRegistryKey");
	CHECK(RtlCreateRegistryKey(RTL_REGISTRY_SERVICES, sub) == STATUS_SUCCESS,
	      "RtlCreateRegistryKey");
	CHECK(RtlWriteRegistryValue(RTL_REGISTRY_SERVICES, sub, L"List", REG_MULTI_SZ, list,
				    sizeof(list)) == STATUS_SUCCESS,
	      "RtlWriteRegistryValue");
	CHECK(RtlQueryRegistryValues(RTL_REGISTRY_SERVICES, service, all, &calls, NULL) ==
			      STATUS_SUCCESS &&
		      calls == 4,
	      "a subkey's values, each string of a list; a default; the top key again");
	CHECK(RtlDeleteRegistryValue(RTL_REGISTRY_SERVICES, sub, L"List") == STATUS_SUCCESS &&
		      RtlDeleteRegistryValue(RTL_REGISTRY_SERVICES, sub, L"List") ==
			      STATUS_OBJECT_NAME_NOT_FOUND,
	      "RtlDeleteRegistryValue");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	HANDLE key, deep, device_key;
	PDEVICE_OBJECT device;
	UNICODE_STRING root = text(L"\\Registry\\Machine\\SYSTEM"),
		       relative = text(L"CurrentControlSet\\Services");
	UNICODE_STRING absent = text(L"\\Registry\\Machine\\System\\Nothing");
	WCHAR service[100];
	service_key = *path;
	CHECK(open_key(path, NULL, &key) == STATUS_SUCCESS,
	      "DEF-289 ZwOpenKey of the registry path");
	given_values(key);
	values(key);
	join(service, driver->DriverExtension->ServiceKeyName.Buffer, L"");
	rtl(service);
	CHECK(open_key(&root, NULL, &deep) == STATUS_SUCCESS, "a key above");
	HANDLE below;
	CHECK(open_key(&relative, deep, &below) == STATUS_SUCCESS, "a path relative to it");
	ZwClose(below);
	ZwClose(deep);
	CHECK(open_key(&absent, NULL, &deep) == STATUS_OBJECT_NAME_NOT_FOUND, "an absent key");
	IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
	CHECK(IoOpenDeviceRegistryKey(device, PLUGPLAY_REGKEY_DEVICE, KEY_READ, &device_key) ==
		      STATUS_SUCCESS,
	      "DEF-301 IoOpenDeviceRegistryKey");
	ZwClose(device_key);
	CHECK(IoOpenDeviceRegistryKey(device, 0, KEY_READ, &device_key) == STATUS_INVALID_PARAMETER,
	      "DEF-301 a bad type");
	IoDeleteDevice(device);
	struct {
		OBJECT_NAME_INFORMATION name;
		WCHAR text[200];
	} full;
	ULONG length;
	PVOID object;
	ObReferenceObjectByHandle(key, 0, NULL, KernelMode, &object, NULL);
	CHECK(ObQueryNameString(object, &full.name, sizeof(full), &length) == STATUS_SUCCESS &&
		      RtlEqualUnicodeString(&full.name.Name, path, TRUE),
	      "ObQueryNameString of a key");
	ObDereferenceObject(object);
	ZwClose(key);
	return check_result();
}
