// One guest, used as a consumer of the package uses it. Every runner asserts the same result.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withVM } from 'withvm'

export const EXPECTED = {
  sent: 'from the host\n',
  copied: 'from the host\n',
  agent: 'agent',
  console: true,
  failure: 'COMMAND_FAILED 3',
}

/** Copies a file to the guest and back, and runs commands over SSH, the agent and the console. */
export async function smoke() {
  const folder = await mkdtemp(join(tmpdir(), 'smoke-'))
  try {
    return await withVM({ image: 'tiny' }, async (vm) => {
      await writeFile(join(folder, 'sent'), EXPECTED.sent)
      await vm.upload(join(folder, 'sent'), '/root/sent')
      await vm.download('/root/sent', join(folder, 'copied'))
      const bytes = await vm.ssh('cat /root/sent', { encoding: 'buffer' })
      await vm.ssh`echo ready >/dev/ttyS0`
      await vm.serial.waitFor('ready')
      const error = await vm.ssh`exit 3`.then(
        () => undefined,
        (error) => error,
      )
      return {
        sent: bytes.stdout.toString(),
        copied: await readFile(join(folder, 'copied'), 'utf8'),
        agent: (await vm.exec('echo agent')).stdout,
        console: vm.serial.text.includes('ready'),
        failure: `${error?.code} ${error?.exitCode}`,
      }
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
