import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findQemu } from '../../src/host/qemu-binary.js'
import { ownTmpdir } from './own-tmpdir.js'

/**
 * Wrapper of QEMU for hosts without KVM: it accepts the arguments of KVM and runs TCG. Where TCG is requested, it
 * executes one instruction at a time, so that the probe finds "KVM" to be faster.
 */
const SCRIPT = `#!/bin/sh
case " $* " in
  *accel=kvm* | *"-accel kvm"*) slow= ;;
  *) slow=-singlestep ;;
esac
for argument; do
  shift
  case $argument in
    kvm) argument=tcg ;;
    *accel=kvm*) argument=$(printf %s "$argument" | sed s/accel=kvm/accel=tcg/) ;;
    host | host,*) argument=max\${argument#host} ;;
  esac
  set -- "$@" "$argument"
done
exec QEMU "$@" $slow
`

/** Makes the wrapper for the running test. Returns its path, for the option `qemu`. */
export async function makeKvmShim(): Promise<string> {
  const path = join(ownTmpdir(), 'qemu-kvm')
  const qemu = await findQemu()
  writeFileSync(path, SCRIPT.replace('QEMU', qemu.path), { mode: 0o755 })
  return path
}
