import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { makeKvmShim } from '../support/kvm-shim.js'
import { ownCache } from '../support/own-cache.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

// withvm does not try KVM without its device.
const hasDevice = existsSync('/dev/kvm')
if (!hasDevice) process.stderr.write('skipped: the wrapper for KVM needs a device /dev/kvm\n')

// On a host with KVM, all other tests take these branches.
test.skipIf(!hasDevice)(
  'with a QEMU that accepts the arguments of KVM, guests boot, start warm, fork and restore checkpoints',
  async () => {
    const cacheDir = ownTmpdir()
    mkdirSync(join(cacheDir, 'host')) // the facts about this wrapper are not shared
    ownCache(cacheDir)
    const logged: string[] = []
    const options = {
      image: 'tiny',
      qemu: await makeKvmShim(),
      standby: false,
      log: (line: string) => void logged.push(line),
    } as const
    await using cold = await launchVM({ ...options, start: 'cold' })
    expect(cold.accelerator).toBe('kvm')
    await using first = await launchVM(options)
    await using second = await launchVM(options)
    expect([first, second].map((vm) => vm.startedFrom.kind)).toEqual(['template', 'template'])
    const [child] = await second.fork()
    await second.ssh`echo later >/root/state`
    expect((await child.ssh`ls /root/state || echo none`).stdout).toBe('none')
    await child.checkpoint('before')
    await child.ssh`echo changed >/root/state`
    await child.restore('before')
    expect((await child.ssh`ls /root/state || echo none`).stdout).toBe('none')
    expect([first, second, child].map((vm) => vm.accelerator)).toEqual(['kvm', 'kvm', 'kvm'])
    expect(logged.join('\n')).not.toContain('TCG')
  },
)
