import { join } from 'node:path'
import { renderCommand } from '../../common/process/shell-quote.js'
import { copyWrittenOverlay } from '../../disk/written-overlay.js'
import type { LayerBuilder, LayerWork, StartLayers } from '../../image/defined-image.js'
import type { GuestArch } from '../../spec/architectures.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { VMOptions } from '../../spec/options.js'
import { runPreparation } from '../guest/run-preparation.js'
import type { VM } from '../guest/vm.js'
import { DiskEditor } from './disk-layer.js'

/** Starts guests that build layers. */
export interface LayerGuests {
  /** Cold-boots a guest of a built image. */
  readonly boot: (image: BaseImage, options: VMOptions) => Promise<VM>
  /** Starts a guest of `tiny`, which mounts the disks of other guests. */
  readonly startHelper: (options: VMOptions, arch: GuestArch | undefined) => Promise<VM>
}

/** RAM of the helper guest: that of the image `debian`, whose commands run in it. */
const HELPER_MEMORY = '512M'

/**
 * Creates the function that builds the layers of an image. Files, and commands that need no running
 * system, are applied to the disk by a helper guest. Other work is done in a guest of the image
 * below, whose overlay is saved after an orderly shutdown.
 */
export function createLayerBuilder({ boot, startHelper }: LayerGuests): StartLayers {
  return ({ arch, layers, signal }): LayerBuilder => {
    let helper: VM | undefined
    const commands = layers.find(({ place, run }) => place === 'disk' && run.length > 0)
    const openHelper = async (report: (step: string) => void): Promise<VM> => {
      if (helper !== undefined) return helper
      report('starting a helper guest')
      const { memory = HELPER_MEMORY, cpus } = commands?.guest ?? {}
      const options: VMOptions = {
        name: 'layers',
        arch,
        memory,
        cpus,
        hotplug: true,
        network: { internet: commands !== undefined },
        standby: false,
        signal,
        log: () => {},
      }
      helper = await startHelper(options, arch)
      return helper
    }
    let editor: DiskEditor | undefined
    const release = async (): Promise<void> => {
      const ended = helper
      helper = undefined
      editor = undefined
      await ended?.dispose()
    }
    return {
      release,
      async build(work, { base, to, report }) {
        if (work.place === 'guest') {
          await release() // its memory
          return buildInGuest(boot, work, { arch, base, to, report, signal })
        }
        const vm = await openHelper(report)
        editor ??= new DiskEditor(vm)
        await editor.edit(work, { base, to, report, signal })
      },
    }
  }
}

async function buildInGuest(
  boot: LayerGuests['boot'],
  work: LayerWork,
  options: {
    readonly arch: VMOptions['arch']
    readonly base: BaseImage
    readonly to: string
    readonly report: (step: string) => void
    readonly signal: AbortSignal | undefined
  },
): Promise<void> {
  const { arch, base, to, report, signal } = options
  if (base.disk === undefined) throw new TypeError('An image without a disk cannot have a layer.')
  report('starting a guest')
  const vm = await boot(base, { ...work.guest, arch, name: work.name, signal, log: () => {} })
  try {
    await doWork(vm, work, report)
    report('powering off')
    await vm.shutdown()
    report('saving its disk')
    await copyWrittenOverlay({ from: join(vm.runFolder, 'disk.qcow2'), to, base: base.disk, signal })
  } finally {
    await vm.dispose()
  }
}

async function doWork(vm: VM, work: LayerWork, report: (step: string) => void): Promise<void> {
  const { files, run, steps, prepare } = work
  for (const step of steps) await runPreparation(step, vm)
  for (const [path, { content, mode }] of Object.entries(files)) {
    report(`writing ${path}`)
    const folder = path.slice(0, path.lastIndexOf('/')) || '/'
    const command = renderCommand`umask 022 && mkdir -p ${folder} && cat >${path} && chmod ${mode.toString(8)} ${path}`
    await vm.ssh(command, { stdin: Buffer.from(content) })
  }
  for (const command of run) {
    report(`running ${command.split('\n', 1)[0]?.slice(0, 60)}`)
    await vm.ssh`/bin/sh -c ${command}`
  }
  if (prepare !== undefined) {
    report('preparing')
    await runPreparation(prepare, vm)
  }
}
