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
	bench_measure("rdma.write 4 KiB",
		      "post to completion polled, loopback; libfabric tcp write, delivery complete",
		      "<= 0.05", ndk_write_4k, fabric_write, 500, BENCH_SAMPLES);
	bench_measure_rate("rdma.write 1 MiB", "bandwidth, loopback (MiB/s), against memcpy",
			   ">= 0.85", ndk_write_1m, memcpy_1m, 50, BENCH_SAMPLES);
	bench_measure_rate("send/receive",
			   "round trips of 64 bytes, one outstanding, against libfabric tcp",
			   ">= 20", ndk_pingpong, fabric_pingpong, 500, BENCH_SAMPLES);
	bench_measure_rate("send/receive 64", "messages, 64 outstanding, against libfabric tcp",
			   ">= 3", ndk_stream, fabric_stream, 1024, BENCH_SAMPLES);
	bench_measure(
		"mr.register+deregister 4 KiB",
		"loopback, verifier on; libfabric tcp fi_mr_reg + fi_close, which check nothing",
		"<= 2.0", ndk_register_4k, fabric_register_4k, 2000, BENCH_SAMPLES);
	bench_measure("mr.register+deregister 1 MiB", "the same: 2 ns a page above 4 KiB",
		      "4 KiB + 510 ns", ndk_register_1m, fabric_register_1m, 1000, BENCH_SAMPLES);
	bench_measure("mr.register+deregister 1 GiB", "the same: 2 ns a page above 4 KiB",
		      "4 KiB + 524 us", ndk_register_1g, fabric_register_1g, 10, BENCH_SAMPLES);
	bench_call_kernel(ndk_traffic_end);
	bench_measure("mr.deregister",
		      "a 1 MiB write under way on another processor, against memcpy of 64 KiB",
		      "<= 3.0", ndk_deregister_busy, baseline_memcpy, 8, 15);
	return true;
}
