import { readFileSync } from 'node:fs'
import { cpus, release } from 'node:os'
import { takeProcessLock } from '../../common/locks/process-lock.js'
import { digestOf, type HostCache } from '../host-cache.js'
import type { QemuBinary } from '../qemu-binary.js'
import { judgeKvmProbe, type KvmVerdict } from './kvm-verdict.js'
import { type AcceleratorName, type ProbeOutcome, runProbe } from './probe.js'

/** What probes have shown about this host and this QEMU. */
export interface AcceleratorFacts {
  readonly kvm?: KvmVerdict
  /** How long the probe's loop takes under TCG. */
  readonly tcgLoopMs?: number
  /** True when this QEMU is built without TCG. */
  readonly tcgMissing?: boolean
}

export interface LearnOptions {
  readonly cache: HostCache
  readonly qemu: QemuBinary
  /** False when nobody wants to know whether KVM works. */
  readonly wantKvm: boolean
  /** Probe again, whatever is known. */
  readonly fresh: boolean
  readonly signal?: AbortSignal | undefined
}

/** Leaves half a second of the two in which the first decision is due. A good probe takes 60 to 200 ms. */
const PROBE_TIMEOUT_MS = 1500

/** Goes up when the probe guest changes in what it proves, or the shape of the facts. */
const FACTS_VERSION = 1

/** Reads what is known, or runs the probes that are missing. Of all processes that want to know, one runs them. */
export async function learnAccelerators(options: LearnOptions): Promise<AcceleratorFacts> {
  const { cache, signal } = options
  const fact = factName(options.qemu)
  const known = options.fresh ? undefined : await cache.read(fact, parseFacts)
  if (known !== undefined && isEnough(known, options)) return known
  const lock = await takeProcessLock(`probe-${digestOf(fact, cache.dir)}`, { signal })
  try {
    const before = options.fresh ? undefined : await cache.read(fact, parseFacts)
    if (before !== undefined && isEnough(before, options)) return before
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
 * Remembers that KVM failed while a guest ran under it, so that later guests run under TCG until the host is booted again or
 * somebody asks for a fresh look.
 */
export async function rememberKvmFailure(reason: string, cache: HostCache, qemu: QemuBinary): Promise<void> {
  const fact = factName(qemu)
  const known = await cache.read(fact, parseFacts)
  const kvm: KvmVerdict = {
    works: false,
    lasting: true,
    reason: `a guest failed under it: ${reason}`,
    fix: 'Run `npx withvm doctor --fresh` to try KVM again.',
  }
  await cache.write(fact, { ...known, kvm })
}

/**
 * The boot of this host is part of the name: firmware settings, nested virtualisation and the machine under a cloud's or a CI's
 * cache change between boots, and a probe after each boot costs less than a guest's boot.
 */
export function factName(qemu: QemuBinary): string {
  const parts = [
    release(),
    readText('/proc/sys/kernel/random/boot_id'),
    qemu.identity,
    cpus()[0]?.model ?? '',
  ]
  return `accelerator-${digestOf(FACTS_VERSION, ...parts)}`
}

function isEnough(facts: AcceleratorFacts, options: LearnOptions): boolean {
  if (options.wantKvm && facts.kvm === undefined) return false
  if (options.wantKvm && facts.kvm?.works === true) return true
  return facts.tcgLoopMs !== undefined || facts.tcgMissing === true
}

/** Both at a time: the two are compared on the same busy host, and neither waits for the other's deadline. */
async function probeMissing(known: AcceleratorFacts, options: LearnOptions): Promise<AcceleratorFacts> {
  const boot = (accelerator: AcceleratorName) =>
    runProbe({
      qemu: options.qemu,
      accelerator,
      timeoutMs: PROBE_TIMEOUT_MS,
      signal: options.signal,
    })
  const wantKvm = options.wantKvm && known.kvm === undefined
  const [tcg, kvm] = await Promise.all([boot('tcg'), wantKvm ? boot('kvm') : undefined])
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

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}
