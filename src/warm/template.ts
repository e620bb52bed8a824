import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { resolveCacheDir } from '../common/cache-dir.js'
import { nameEntry, openCacheEntry } from '../image/cache.js'
import { createEmptyOverlay } from '../image/overlay.js'
import { createProgress } from '../image/progress.js'
import type { MachineSpec } from '../spec/machine-spec.js'
import { type BootOptions, bootMachine } from '../vm/boot.js'
import { freezeGuest } from '../vm/freeze.js'
import type { FrozenMachine, MachineHost } from '../vm/machine.js'
import type { VM } from '../vm/vm.js'
import { describeTemplate } from './template-key.js'

/** A guest that was booted once and frozen: others go on from where it had come to. */
export interface Template {
  /** Its name among all: the image's, and a digest of all that it depends on. */
  readonly name: string
  readonly frozen: FrozenMachine
  /** What it took to boot and freeze it, milliseconds; undefined where it was there already. */
  readonly buildMs: number | undefined
}

const FILES = {
  memory: 'memory',
  state: 'state',
  disk: 'disk.qcow2',
  overlay: 'overlay.qcow2',
  log: 'serial.log',
}
const FOLDER = 'templates'

/**
 * Gives the template of a machine: from the cache, or made now, while other processes that want it wait.
 *
 * @throws what a boot of the guest throws.
 * @throws {UsageError} FREEZE_REFUSED when QEMU cannot save the state of this machine.
 * @throws {InfrastructureError} NO_SPACE when the disk is full.
 */
export async function openTemplate(
  spec: MachineSpec<VM>,
  host: MachineHost,
  options: Omit<BootOptions, 'startedFrom'>,
): Promise<Template> {
  const cacheDir = resolveCacheDir()
  const name = spec.image?.name ?? 'guest'
  const inputs = describeTemplate(spec as MachineSpec<never>, host)
  const entry = nameEntry(name, inputs)
  const final = join(cacheDir, FOLDER, entry)
  const progress = createProgress(`booting '${name}' once, for all guests to go on from`)
  let buildMs: number | undefined
  try {
    const dir = await openCacheEntry({
      cacheDir,
      folder: FOLDER,
      name,
      inputs,
      build: async (building) => {
        const startedAt = performance.now()
        progress.report('booting')
        await buildTemplate({ spec: { ...spec, name }, host, building, final, options })
        buildMs = performance.now() - startedAt
      },
      onWait: () => progress.report('waiting for another process that boots it'),
      signal: options.signal,
    })
    return { name: entry, frozen: describeFiles(dir, spec), buildMs }
  } finally {
    progress.end(buildMs === undefined ? undefined : 'done')
  }
}

async function buildTemplate(plan: {
  readonly spec: MachineSpec<VM>
  readonly host: MachineHost
  readonly building: string
  readonly final: string
  readonly options: Omit<BootOptions, 'startedFrom'>
}): Promise<void> {
  const { spec, host, building, final, options } = plan
  const memoryFile = join(building, FILES.memory)
  const guest = await bootMachine(spec, host, { ...options, memoryFile, startedFrom: { kind: 'cold' } })
  await using _ = guest.vm
  const { signal } = options
  await freezeGuest(guest.machine, guest.session, { statePath: join(building, FILES.state), signal })
  await copyFile(guest.machine.workspace.path('serial.log'), join(building, FILES.log))
  if (guest.machine.overlay === undefined) return
  await copyFile(guest.machine.overlay, join(building, FILES.disk))
  const base = { path: join(building, FILES.disk), format: 'qcow2' } as const
  await createEmptyOverlay({
    base,
    storedAs: join(final, FILES.disk),
    path: join(building, FILES.overlay),
    signal,
  })
}

function describeFiles(dir: string, spec: MachineSpec<VM>): FrozenMachine {
  return {
    memory: join(dir, FILES.memory),
    state: join(dir, FILES.state),
    serialLog: join(dir, FILES.log),
    overlay: spec.image?.disk === undefined ? undefined : join(dir, FILES.overlay),
  }
}
