/** Boot loader GRUB: for BIOS in its own partition, for UEFI in the EFI system partition. */
import { LOADER_PACKAGES } from './packages.js'

/** UUID by which the boot loader finds the root file system, whatever the name of the disk. */
export const ROOT_UUID = '7f0c6a54-4d4e-4b0f-9d0a-77697468766d'
/** Files that the build leaves in the system for the disk outside of the root file system. */
export const LOADER_FILES = {
  bootSector: 'boot/loader/boot.img',
  core: 'boot/loader/core.img',
  efiSystem: 'boot/loader/esp.img',
} as const
export const LOADER_FOLDER = 'boot/loader'
export const EFI_SYSTEM_MIB = 16

const MODULES = 'part_gpt ext2 normal configfile linux search_fs_uuid serial terminal test echo halt reboot'

/**
 * Script that runs in the system during the build. It uses Debian's own GRUB and leaves only the
 * three files.
 */
export const MAKE_LOADER = `set -e
mkdir -p /${LOADER_FOLDER}/work
cd /${LOADER_FOLDER}/work
apt-get -qq -o APT::Sandbox::User=root download ${LOADER_PACKAGES.join(' ')}
for deb in *.deb; do dpkg-deb -x "$deb" .; done
export LD_LIBRARY_PATH="$PWD/lib/x86_64-linux-gnu:$PWD/usr/lib/x86_64-linux-gnu"
cat >early.cfg <<'END'
search.fs_uuid ${ROOT_UUID} root
set prefix=($root)/boot/grub
END
usr/bin/grub-mkimage -d usr/lib/grub/i386-pc -O i386-pc -c early.cfg -p /boot/grub -o ../core.img biosdisk ${MODULES}
cp usr/lib/grub/i386-pc/boot.img ..
usr/bin/grub-mkimage -d usr/lib/grub/x86_64-efi -O x86_64-efi -c early.cfg -p /boot/grub -o grub.efi fat efi_gop ${MODULES}
truncate -s ${EFI_SYSTEM_MIB}M ../esp.img
usr/bin/mformat -i ../esp.img -v ESP ::
usr/bin/mmd -i ../esp.img ::/EFI ::/EFI/BOOT
usr/bin/mcopy -i ../esp.img grub.efi ::/EFI/BOOT/BOOTX64.EFI
cd ..
rm -r work
`

/**
 * Builds the GRUB configuration. It uses the links maintained by Debian's kernel packages, so a
 * kernel that is installed later is booted.
 */
export function buildGrubConfig(kernelArguments: readonly string[]): string {
  return `# withvm reads the serial console.
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry 'Debian GNU/Linux' {
  linux /vmlinuz root=UUID=${ROOT_UUID} rw ${kernelArguments.join(' ')}
  initrd /initrd.img
}
`
}

const SECTOR_BYTES = 512

/**
 * Returns the boot code that loads the core from that sector, without the bytes of the partition
 * table.
 */
export function placeBootSector(bootImage: Buffer, coreSector: number): Buffer {
  const code = Buffer.from(bootImage.subarray(0, 440))
  // Same changes as by grub-bios-setup (util/setup.c): the sector of the core, and use of the BIOS
  // drive number.
  code.writeBigUInt64LE(BigInt(coreSector), 0x5c)
  code.set([0x90, 0x90], 0x66)
  return code
}

/** Sets the list of blocks at the end of the core's first sector, which loads the rest. */
export function placeCore(core: Buffer, coreSector: number): Buffer {
  const placed = Buffer.from(core)
  placed.writeBigUInt64LE(BigInt(coreSector + 1), SECTOR_BYTES - 12)
  return placed
}
