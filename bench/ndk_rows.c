/* SPDX-License-Identifier: MIT */
/* ndk_rows.c: the rows of the NDK provider inside the machine. */
#include "bench/ndk.h"

static double memcpy_1m(unsigned count)
{
	return bench_in_kernel(ndk_memcpy_1m, count);
}

bool bench_ndk_rows(void)
{
	fabric_begin();
	bench_call_kernel(ndk_traffic_begin);
	if (!ndk_traffic_ready)
		return false;
	bench_measure("rdma.write.4KiB",
		      "post to completion polled, loopback; libfabric tcp write, delivery complete",
		      "<= 0.05", ndk_write_4k, fabric_write, 500, BENCH_SAMPLES);
	bench_measure("rdma.write.1MiB",
		      "loopback, against memcpy: at least 0.85 of its bandwidth", "<= 1.18",
		      ndk_write_1m, memcpy_1m, 50, BENCH_SAMPLES);
	bench_measure("send+receive",
		      "a round trip of 64 bytes, one outstanding, against libfabric tcp", "<= 0.05",
		      ndk_pingpong, fabric_pingpong, 500, BENCH_SAMPLES);
	bench_measure("send+receive.64", "64 outstanding, one message, against libfabric tcp",
		      "<= 0.33", ndk_stream, fabric_stream, 1024, BENCH_SAMPLES);
	bench_call_kernel(ndk_traffic_end);
	return true;
}
