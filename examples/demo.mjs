// `npm run demo`: boots a guest, runs a command, reads the console, and verifies that nothing is left on the host.
import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { withVM } from 'withvm'

const print = (text) => console.log(text)
const startedAt = performance.now()
const seconds = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`

let base
const left = await withVM({ image: 'tiny' }, async (vm) => {
  base = vm.baseDisk
  const before = await sha256(base)
  print(`The guest is ready after ${seconds()} (under ${vm.accelerator.toUpperCase()}).`)

  const { stdout } = await vm.ssh`uname -sr && id -un && df -h / | tail -n 1`
  print(`\nSSH: uname -sr; id -un; df -h /\n${indent(stdout)}`)

  await vm.serial.write('echo typed on the serial console: $((6 * 7))\n')
  const seen = await vm.serial.waitFor(/^typed on the serial console: 42/)
  print(`\nSerial console:\n${indent(seen.line)}`)

  await vm.ssh`dd if=/dev/urandom of=/root/written bs=1M count=8 && sync`
  print('\n8 MiB were written to the disk of the guest.')
  return { pid: vm.pid, runFolder: vm.runFolder, before }
})

const after = await sha256(base)
print(`\nThe guest was removed after ${seconds()}:`)
verify('the QEMU process has exited', !existsSync(`/proc/${left.pid}`))
verify(`the base image is unchanged (sha256 ${after.slice(0, 16)}…)`, after === left.before)
verify('the overlay, keys and sockets are removed', !existsSync(left.runFolder))

async function sha256(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}

function indent(text) {
  return text.replace(/^/gm, '  | ')
}

function verify(statement, isTrue) {
  print(`  ${isTrue ? 'ok  ' : 'FAIL'} ${statement}`)
  if (!isTrue) process.exitCode = 1
}
