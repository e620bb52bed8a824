/** Flags of QEMU 0.9 to 10 without a value. */
const WITHOUT_VALUE = `S s alt-grab ctrl-grab curses daemonize enable-hax enable-kvm enable-sync-profile full-screen localtime mem-prealloc
  kernel-kqemu no-acpi no-fd-bootchk no-frame no-hpet no-kqemu no-kvm no-kvm-irqchip no-kvm-pit no-kvm-pit-reinjection no-quit
  no-reboot no-shutdown no-user-config nodefaults nodefconfig nographic old-param only-migratable portrait -preconfig preconfig
  rtc-td-hack sdl semihosting singlestep snapshot std-vga tdf usb win2k-hack xen-attach xen-domid-restrict async-teardown`

/** Flags with a value. */
const WITH_VALUE = `D L accel acpitable action add-fd append audio audiodev balloon bios blockdev bootp boot bt cdrom chardev chroot clock compat
  cpu cpu-throttle d debugcon device dfilter display drive dtb dump-vmstate echr enable-fips fda fdb fsdev fw_cfg g gdb global hda
  hdachs hdb hdc hdd hpet icount incoming initrd iscsi k kernel loadvm m M machine mem-path mon monitor msg mtdblock name net
  netdev nic numa object option-rom overcommit parallel pcidevice pflash pidfile plugin prom-env qmp qmp-pretty readconfig redir
  rotate rtc run-with runas sandbox sd seed semihosting-config serial set shim smb smbios smp soundhw spice startdate tb-size tftp
  tpmdev trace usbdevice uuid vga virtfs virtioconsole vnc watchdog watchdog-action writeconfig xen-domid`

const words = (text: string) => new Set(text.split(/\s+/))
const withoutValue = words(WITHOUT_VALUE)
const withValue = words(WITH_VALUE)

/** All flags, for suggestions. */
export const FLAGS: readonly string[] = [...withoutValue, ...withValue].map((name) => `-${name}`)

/** Returns true if the flag requires a value. Undefined for an unknown flag. */
export function takesValue(flag: string): boolean | undefined {
  return withoutValue.has(flag) ? false : withValue.has(flag) ? true : undefined
}
