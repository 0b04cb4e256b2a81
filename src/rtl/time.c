/* SPDX-License-Identifier: MIT */
/*
 * time.c: the calendar, for drivers. Times are 100 ns units since 1601-01-01, Gregorian calendar
 * throughout.
 *
 * Pure code: any IRQL.
 */
#include <ntifs.h>
#include "rtl/rtl.h"

#define MILLISECOND      10000
#define DAY              (INT64_C(864000000000))
#define DAYS_400         146097
#define DAYS_100         36524
#define DAYS_4           1461
#define YEAR_FIRST       1601
#define YEAR_LAST        30827 /* of the documented range */
#define WEEKDAY_OF_FIRST 1     /* 1601-01-01 was a Monday */

static bool leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int month_days(int year, int month)
{
	static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	return days[month - 1] + (month == 2 && leap(year));
}

/* Days from 1601-01-01 to the first of January of a year. */
static int64_t days_before(int year)
{
	int64_t n = year - YEAR_FIRST;
	return n * 365 + n / 4 - n / 100 + n / 400;
}

/* IRQL any. Negative times are taken as 0. */
VOID NTAPI RtlTimeToTimeFields(PLARGE_INTEGER Time, PTIME_FIELDS TimeFields)
{
	int64_t time = Time->QuadPart < 0 ? 0 : Time->QuadPart;
	int64_t days = time / DAY;
	int64_t rest = time % DAY / MILLISECOND;

	TimeFields->Weekday = (CSHORT)((days + WEEKDAY_OF_FIRST) % 7);
	TimeFields->Milliseconds = (CSHORT)(rest % 1000);
	TimeFields->Second = (CSHORT)(rest / 1000 % 60);
	TimeFields->Minute = (CSHORT)(rest / 60000 % 60);
	TimeFields->Hour = (CSHORT)(rest / 3600000);

	int64_t year = YEAR_FIRST + days / DAYS_400 * 400;
	days %= DAYS_400;
	int64_t centuries =
		days / DAYS_100 > 3 ? 3 : days / DAYS_100; /* the 400th year has one day more */
	days -= centuries * DAYS_100;
	int64_t fours = days / DAYS_4;
	days -= fours * DAYS_4;
	int64_t years = days / 365 > 3 ? 3 : days / 365;
	days -= years * 365;
	year += centuries * 100 + fours * 4 + years;

	int month = 1;
	for (; days >= month_days((int)year, month); month++)
		days -= month_days((int)year, month);
	TimeFields->Year = (CSHORT)year;
	TimeFields->Month = (CSHORT)month;
	TimeFields->Day = (CSHORT)(days + 1);
}

/* IRQL any. FALSE: a field is out of its range; the weekday is not looked at. */
BOOLEAN NTAPI RtlTimeFieldsToTime(PTIME_FIELDS TimeFields, PLARGE_INTEGER Time)
{
	const TIME_FIELDS *f = TimeFields;
	if (f->Year < YEAR_FIRST || f->Year > YEAR_LAST || f->Month < 1 || f->Month > 12 ||
	    f->Day < 1 || f->Day > month_days(f->Year, f->Month) || f->Hour < 0 || f->Hour > 23 ||
	    f->Minute < 0 || f->Minute > 59 || f->Second < 0 || f->Second > 59 ||
	    f->Milliseconds < 0 || f->Milliseconds > 999)
		return FALSE;
	int64_t days = days_before(f->Year) + f->Day - 1;
	for (int month = 1; month < f->Month; month++)
		days += month_days(f->Year, month);
	int64_t milliseconds =
		((f->Hour * 60 + f->Minute) * 60 + f->Second) * INT64_C(1000) + f->Milliseconds;
	Time->QuadPart = days * DAY + milliseconds * MILLISECOND;
	return TRUE;
}
