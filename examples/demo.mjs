// `npm run demo`: boots a real guest, runs a command in it, looks at its console, and proves that nothing of it is left.
import { createHash } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { withVM } from 'withvm'

const say = (text) => console.log(text)
const startedAt = performance.now()
const seconds = () => `${((performance.now() - startedAt) / 1000).toFixed(1)} s`

let base
const left = await withVM({ image: 'tiny' }, async (vm) => {
  base = vm.baseDisk
  const before = await sha256(base)
  say(`A guest is there after ${seconds()} (under ${vm.accelerator.toUpperCase()}).`)

  const { stdout } = await vm.ssh`uname -sr && id -un && df -h / | tail -n 1`
  say(`\nSSH: uname -sr; id -un; df -h /\n${indent(stdout)}`)

  await vm.serial.write('echo typed on the serial console: $((6 * 7))\n')
  const seen = await vm.serial.waitFor(/^typed on the serial console: 42/)
  say(`\nSerial console:\n${indent(seen.line)}`)

  await vm.ssh`dd if=/dev/urandom of=/root/written bs=1M count=8 && sync`
  say('\n8 MiB were written to the disk of the guest.')
  return { pid: vm.pid, runFolder: vm.runFolder, before }
})

const after = await sha256(base)
say(`\nThe guest was thrown away after ${seconds()}:`)
prove('QEMU has ended', !existsSync(`/proc/${left.pid}`))
prove(`the base image is as it was (sha256 ${after.slice(0, 16)}…)`, after === left.before)
prove('its overlay, keys and sockets are gone', !existsSync(left.runFolder))

async function sha256(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}

function indent(text) {
  return text.replace(/^/gm, '  | ')
}

function prove(what, isTrue) {
  say(`  ${isTrue ? 'ok  ' : 'FAIL'} ${what}`)
  if (!isTrue) process.exitCode = 1
}
