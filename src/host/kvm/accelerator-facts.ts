import { cpus, release } from 'node:os'
import { readOptionalFile } from '../../common/files/optional-file.js'
import { takeProcessLock } from '../../common/locks/process-lock.js'
import { digestOf, type HostCache } from '../host-cache.js'
import type { QemuBinary } from '../qemu-binary.js'
import { judgeKvmProbe, type KvmVerdict } from './kvm-verdict.js'
import { type AcceleratorName, type ProbeOutcome, runProbe } from './probe.js'

/** Results of the probes for this host and this QEMU. */
export interface AcceleratorFacts {
  readonly kvm?: KvmVerdict
  /** Duration of the benchmark loop of the probe guest under TCG, in milliseconds. */
  readonly tcgLoopMs?: number
  /** True if this QEMU is built without TCG. */
  readonly tcgMissing?: boolean
}

export interface ProbeRequest {
  readonly cache: HostCache
  readonly qemu: QemuBinary
  /** If true, KVM is probed. */
  readonly probeKvm: boolean
  /** If true, cached facts are ignored. */
  readonly fresh: boolean
  readonly signal?: AbortSignal | undefined
}

/**
 * Timeout that leaves half a second of the two seconds for the first decision. A successful probe
 * takes 60 to 200 ms.
 */
const PROBE_TIMEOUT_MS = 1500

/**
 * Version of the facts. Increase it when the tests of the probe guest or the shape of the facts
 * change.
 */
const FACTS_VERSION = 1

/**
 * Returns the cached facts, or runs the missing probes. Concurrent processes share one run of the
 * probes.
 */
export async function probeAccelerators(options: ProbeRequest): Promise<AcceleratorFacts> {
  const { cache, signal } = options
  const fact = factName(options.qemu)
  const known = options.fresh ? undefined : await cache.read(fact, parseFacts)
  if (known !== undefined && isSufficient(known, options)) return known
  const lock = await takeProcessLock(`probe-${digestOf(fact, cache.dir)}`, { signal })
  try {
    const before = options.fresh ? undefined : await cache.read(fact, parseFacts)
    if (before !== undefined && isSufficient(before, options)) return before
    const facts = await probeMissing(before ?? {}, options)
    const { kvm, ...others } = facts
    const lasting = kvm !== undefined && (kvm.works || kvm.lasting)
    await cache.write(fact, lasting ? facts : others)
    return facts
  } finally {
    await lock.release()
  }
}

/**
 * Returns the name of the facts. It includes the boot ID of the host: firmware settings and nested
 * virtualization can change between boots, and a cloud or CI may restore a cache on another
 * machine. A probe is faster than the boot of a guest.
 */
export function factName(qemu: QemuBinary): string {
  const parts = [
    release(),
    readOptionalFile('/proc/sys/kernel/random/boot_id').trim(),
    qemu.fingerprint,
    cpus()[0]?.model ?? '',
  ]
  return `accelerator-${digestOf(FACTS_VERSION, ...parts)}`
}

function isSufficient(facts: AcceleratorFacts, options: ProbeRequest): boolean {
  if (options.probeKvm && facts.kvm === undefined) return false
  if (options.probeKvm && facts.kvm?.works === true) return true
  return facts.tcgLoopMs !== undefined || facts.tcgMissing === true
}

/**
 * Runs both probes concurrently, so that they are compared under the same load and share one
 * timeout.
 */
async function probeMissing(known: AcceleratorFacts, options: ProbeRequest): Promise<AcceleratorFacts> {
  const boot = (accelerator: AcceleratorName) =>
    runProbe({
      qemu: options.qemu,
      accelerator,
      timeoutMs: PROBE_TIMEOUT_MS,
      signal: options.signal,
    })
  const probeKvm = options.probeKvm && known.kvm === undefined
  const [tcg, kvm] = await Promise.all([boot('tcg'), probeKvm ? boot('kvm') : undefined])
  const tcgLoopMs = tcg.loopMs ?? known.tcgLoopMs
  const verdict =
    kvm === undefined
      ? known.kvm
      : judgeKvmProbe(kvm, { passed: tcg.end === 'passed', loopMs: tcgLoopMs }, PROBE_TIMEOUT_MS)
  return {
    ...(verdict === undefined ? {} : { kvm: verdict }),
    ...(tcgLoopMs === undefined ? {} : { tcgLoopMs }),
    ...(isMissing(tcg) ? { tcgMissing: true } : {}),
  }
}

function isMissing(tcg: ProbeOutcome): boolean {
  return tcg.end === 'exited' && /invalid accelerator/i.test(tcg.stderr)
}

function parseFacts(value: unknown): AcceleratorFacts | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { kvm, tcgLoopMs, tcgMissing } = value as Record<string, unknown>
  const verdict = parseVerdict(kvm)
  return {
    ...(verdict === undefined ? {} : { kvm: verdict }),
    ...(isPositive(tcgLoopMs) ? { tcgLoopMs } : {}),
    ...(tcgMissing === true ? { tcgMissing } : {}),
  }
}

function parseVerdict(value: unknown): KvmVerdict | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { works, loopMs, reason, fix } = value as Record<string, unknown>
  if (works === true && isPositive(loopMs)) return { works, loopMs }
  if (works === false && typeof reason === 'string' && typeof fix === 'string') {
    return { works, lasting: true, reason, fix }
  }
  return undefined
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && Number.isFinite(value)
}
