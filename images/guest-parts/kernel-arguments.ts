/**
 * Raises the time after which the kernel reports a soft lockup from 20 s to 120 s, the maximum. On
 * a busy host without KVM, the initialization of the kernel alone may take longer than 20 s.
 */
export const BUSY_HOST_ARGUMENT = 'watchdog_thresh=60'
