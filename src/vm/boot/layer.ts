import { join } from 'node:path'
import { renderCommand } from '../../common/process/shell-quote.js'
import { copyWrittenOverlay } from '../../disk/written-overlay.js'
import type { GuestWork, MakeLayer } from '../../image/defined-image.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { VMOptions } from '../../spec/options.js'
import { runPreparation } from '../guest/run-preparation.js'
import type { VM } from '../guest/vm.js'

/** Cold-boots a guest of a built image. */
type Boot = (image: BaseImage, options: VMOptions) => Promise<VM>

/**
 * Creates the function that builds an image layer in a guest: the guest's overlay is saved after an
 * orderly shutdown.
 */
export function createLayerBuilder(boot: Boot): MakeLayer {
  return async (work, { base, to, report, signal }) => {
    report('starting a guest')
    const vm = await boot(base, { ...work.guest, name: work.name, signal, log: () => {} })
    try {
      await doWork(vm, work, report)
      report('powering off')
      await vm.shutdown()
      report('saving its disk')
      if (base.disk === undefined) throw new TypeError('an image without a disk cannot have a layer')
      await copyWrittenOverlay({ from: join(vm.runFolder, 'disk.qcow2'), to, base: base.disk, signal })
    } finally {
      await vm.dispose()
    }
  }
}

async function doWork(vm: VM, work: GuestWork, report: (step: string) => void): Promise<void> {
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
