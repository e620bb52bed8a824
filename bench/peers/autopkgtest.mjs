// Runs autopkgtest-virt-qemu with the protocol of autopkgtest: one request per line, with a reply `ok …`.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** Starts one guest and runs a command in it. */
export async function runAutopkgtest(image, { env, qemu }) {
  const direct = `-kernel ${image.kernel} -initrd ${image.initrd}`
  // autopkgtest-virt-qemu splits its options at spaces.
  const append = 'root=LABEL=debvm rw console=ttyS0'
  const args = ['--qemu-command', qemu, '--qemu-options', direct, '--qemu-architecture', 'x86_64']
  const limits = ['--timeout-reboot', '600', image.disk]
  const harness = spawn('autopkgtest-virt-qemu', [...args, ...limits], {
    env: { ...env, QEMU_FOR_PEERS_APPEND: append },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const ended = once(harness, 'exit')
  const lines = createInterface({ input: harness.stdout })[Symbol.asyncIterator]()
  const readReply = async () => {
    const { value = 'nothing' } = await lines.next()
    if (!value.startsWith('ok')) throw new Error(`autopkgtest-virt-qemu: ${value}`)
    return value
  }
  const request = (line) => {
    harness.stdin.write(`${line}\n`)
    return readReply()
  }
  try {
    await readReply()
    await request('open')
    const command = (await request('print-execute-command')).split(' ')[1].split(',').map(decodeURIComponent)
    execFileSync(command[0], [...command.slice(1), 'true'], { stdio: 'ignore' })
    await request('close')
    harness.stdin.end('quit\n')
    await ended
  } finally {
    harness.kill('SIGTERM')
    await ended
  }
}
