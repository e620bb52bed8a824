import { setTimeout as sleep } from 'node:timers/promises'
import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import type { QemuProcess } from '../../qemu/process.js'

/**
 * Timeout of each way to end QEMU before the next one, in milliseconds. Measured: `quit` takes 5.
 */
const STEP_TIMEOUT_MS = 2000

/** Ends QEMU: with `quit` over QMP, then SIGTERM, then SIGKILL, each with a deadline. */
export async function stopQemu(qemu: QemuProcess, qmp?: QmpClient): Promise<void> {
  if (qmp !== undefined && !qmp.isClosed && qemu.exit === undefined) {
    qmp.execute('quit', {}, { timeoutMs: STEP_TIMEOUT_MS }).catch(() => {})
    if (await endsWithin(qemu, STEP_TIMEOUT_MS)) return
  }
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    qemu.kill(signal)
    if (await endsWithin(qemu, STEP_TIMEOUT_MS)) return
  }
  await qemu.exited
}

/** Returns true if QEMU has ended, or ends within this time. */
export async function endsWithin(qemu: QemuProcess, ms: number): Promise<boolean> {
  if (qemu.exit !== undefined) return true
  const timer = new AbortController()
  try {
    return await Promise.race([
      qemu.exited.then(() => true),
      sleep(ms, false, { signal: timer.signal }).catch(() => false),
    ])
  } finally {
    timer.abort()
  }
}
