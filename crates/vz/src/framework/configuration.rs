//! A plan turned into the framework's configuration.
//!
//! Devices are what a guest needs and no more: each one is a driver in the guest and an attack surface in the host.
//! macOS guests get a display, a keyboard and a pointer, without which their login window does not start.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, IntoRawFd as _};
use std::path::Path;

use objc2::AnyThread as _;
use objc2::rc::Retained;
use objc2_foundation::{NSArray, NSFileHandle, NSString};
use objc2_virtualization::*;
use selfsame_machine::report::PORT;

use super::error::link_of;
use super::file_url;
use super::identifier;
use super::queue::OnQueue;
use crate::error::{Unsupported, VzError};
use crate::plan::{Boot, Plan, Platform};

/// The size of a macOS guest's display: full HD at the density of an external display.
const DISPLAY: (isize, isize, isize) = (1920, 1080, 80);

/// Makes a configuration, and has the framework check it.
///
/// `report` is the guest's end of the port on which it reports.
///
/// # Errors
/// When the framework does not take a part of it, or not the whole.
pub(super) fn configure(
    _on: &OnQueue<'_>,
    plan: &Plan,
    report: Option<BorrowedFd<'_>>,
) -> Result<Retained<VZVirtualMachineConfiguration>, VzError> {
    // SAFETY: a configuration is a plain value until a machine is made of it; it stays on this queue.
    let configuration = unsafe { VZVirtualMachineConfiguration::new() };
    // SAFETY: plain setters. What is out of range is refused by the validation.
    unsafe {
        configuration.setCPUCount(plan.cpus as usize);
        configuration.setMemorySize(plan.memory);
    }
    match &plan.platform {
        Platform::Mac { .. } => mac(&configuration, &plan.platform)?,
        Platform::Generic { identifier, identifier_file, boot } => {
            generic_platform(&configuration, identifier, identifier_file)?;
            generic_boot(&configuration, boot)?;
            if let Some(report) = report {
                report_port(&configuration, report)?;
            }
        }
    }
    storage(&configuration, plan)?;
    network(&configuration, plan)?;
    serial(&configuration, &plan.console)?;
    common(&configuration);
    // SAFETY: reads the configuration.
    unsafe { configuration.validateWithError() }
        .map_err(|error| VzError::failed("check the VM", link_of(&error)))?;
    Ok(configuration)
}

fn mac(configuration: &VZVirtualMachineConfiguration, platform: &Platform) -> Result<(), VzError> {
    let Platform::Mac { identifier, identifier_file, hardware_model, hardware_model_file, auxiliary_storage } =
        platform
    else {
        return Ok(());
    };
    let rejected = |path: &Path| VzError::Rejected { path: path.to_owned() };
    let id = identifier::mac(identifier).ok_or_else(|| rejected(identifier_file))?;
    let model = identifier::hardware_model(hardware_model).ok_or_else(|| rejected(hardware_model_file))?;
    // SAFETY: reads a value.
    if !unsafe { model.isSupported() } {
        return Err(VzError::Unsupported(Unsupported::HardwareModel));
    }
    // SAFETY: opens storage that exists (the plan saw it) and makes none; the setters take objects just made.
    unsafe {
        let url = file_url(auxiliary_storage);
        let storage = VZMacAuxiliaryStorage::initWithURL(VZMacAuxiliaryStorage::alloc(), &url);
        let platform = VZMacPlatformConfiguration::new();
        platform.setMachineIdentifier(&id);
        platform.setHardwareModel(&model);
        platform.setAuxiliaryStorage(Some(&storage));
        configuration.setPlatform(&platform);
        configuration.setBootLoader(Some(&VZMacOSBootLoader::new()));
        let (width, height, density) = DISPLAY;
        let display = VZMacGraphicsDisplayConfiguration::initWithWidthInPixels_heightInPixels_pixelsPerInch(
            VZMacGraphicsDisplayConfiguration::alloc(),
            width,
            height,
            density,
        );
        let graphics = VZMacGraphicsDeviceConfiguration::new();
        graphics.setDisplays(&NSArray::from_retained_slice(&[display]));
        configuration.setGraphicsDevices(&NSArray::from_retained_slice(&[Retained::into_super(graphics)]));
        let keyboard = Retained::into_super(VZUSBKeyboardConfiguration::new());
        configuration.setKeyboards(&NSArray::from_retained_slice(&[keyboard]));
        let pointer = Retained::into_super(VZUSBScreenCoordinatePointingDeviceConfiguration::new());
        configuration.setPointingDevices(&NSArray::from_retained_slice(&[pointer]));
    }
    Ok(())
}

fn generic_platform(
    configuration: &VZVirtualMachineConfiguration,
    bytes: &[u8],
    file: &Path,
) -> Result<(), VzError> {
    let id = identifier::generic(bytes).ok_or_else(|| VzError::Rejected { path: file.to_owned() })?;
    // SAFETY: the setters take objects just made.
    unsafe {
        let platform = VZGenericPlatformConfiguration::new();
        platform.setMachineIdentifier(&id);
        configuration.setPlatform(&platform);
    }
    Ok(())
}

fn generic_boot(configuration: &VZVirtualMachineConfiguration, boot: &Boot) -> Result<(), VzError> {
    match boot {
        Boot::Efi { variables } => {
            let store = variable_store(variables)?;
            // SAFETY: the setters take objects just made.
            unsafe {
                let loader = VZEFIBootLoader::new();
                loader.setVariableStore(Some(&store));
                configuration.setBootLoader(Some(&loader));
            }
        }
        Boot::Kernel { kernel, initrd, command_line } => {
            // SAFETY: the setters take objects just made.
            unsafe {
                let loader =
                    VZLinuxBootLoader::initWithKernelURL(VZLinuxBootLoader::alloc(), &file_url(kernel));
                loader.setCommandLine(&NSString::from_str(command_line));
                if let Some(initrd) = initrd {
                    loader.setInitialRamdiskURL(Some(&file_url(initrd)));
                }
                configuration.setBootLoader(Some(&loader));
            }
        }
    }
    Ok(())
}

/// The UEFI variables: opened where there are some, made where there are none.
fn variable_store(path: &Path) -> Result<Retained<VZEFIVariableStore>, VzError> {
    let url = file_url(path);
    if path.exists() {
        // SAFETY: opens what is there.
        return Ok(unsafe { VZEFIVariableStore::initWithURL(VZEFIVariableStore::alloc(), &url) });
    }
    // SAFETY: without the option to overwrite, a file that appeared meanwhile is an error and stays as it is.
    unsafe {
        VZEFIVariableStore::initCreatingVariableStoreAtURL_options_error(
            VZEFIVariableStore::alloc(),
            &url,
            VZEFIVariableStoreInitializationOptions::empty(),
        )
    }
    .map_err(|error| VzError::failed("make the guest's UEFI variables", link_of(&error)))
}

fn storage(configuration: &VZVirtualMachineConfiguration, plan: &Plan) -> Result<(), VzError> {
    let mut devices: Vec<Retained<VZStorageDeviceConfiguration>> = Vec::new();
    for (file, read_only) in &plan.disks {
        let attachment = disk_image(file, *read_only, plan.is_macos())?;
        // SAFETY: takes an attachment just made.
        let device = unsafe {
            VZVirtioBlockDeviceConfiguration::initWithAttachment(
                VZVirtioBlockDeviceConfiguration::alloc(),
                &attachment,
            )
        };
        devices.push(Retained::into_super(device));
    }
    if let Some(iso) = &plan.iso {
        let attachment = disk_image(iso, true, plan.is_macos())?;
        // SAFETY: takes an attachment just made.
        let device = unsafe {
            VZUSBMassStorageDeviceConfiguration::initWithAttachment(
                VZUSBMassStorageDeviceConfiguration::alloc(),
                &attachment,
            )
        };
        devices.push(Retained::into_super(device));
    }
    // SAFETY: a plain setter.
    unsafe { configuration.setStorageDevices(&NSArray::from_retained_slice(&devices)) };
    Ok(())
}

/// Opens a disk's image.
///
/// Linux guests get the host's cache: left to choose, the framework reads past it, and reports of damaged file systems in
/// Linux guests ended with that choice (UTM pull request 5919, Lima 2026, Lume 1100; confidence: high). macOS guests are
/// not affected.
fn disk_image(
    file: &Path,
    read_only: bool,
    is_macos: bool,
) -> Result<Retained<VZDiskImageStorageDeviceAttachment>, VzError> {
    let caching = if is_macos { VZDiskImageCachingMode::Automatic } else { VZDiskImageCachingMode::Cached };
    // SAFETY: opens the image, or says why it cannot.
    unsafe {
        VZDiskImageStorageDeviceAttachment::initWithURL_readOnly_cachingMode_synchronizationMode_error(
            VZDiskImageStorageDeviceAttachment::alloc(),
            &file_url(file),
            read_only,
            caching,
            VZDiskImageSynchronizationMode::Full,
        )
    }
    .map_err(|error| VzError::failed("open a disk of the VM", link_of(&error)))
}

fn network(configuration: &VZVirtualMachineConfiguration, plan: &Plan) -> Result<(), VzError> {
    let text = NSString::from_str(&plan.mac_address.to_string());
    // SAFETY: takes any text and answers nil for what is no address.
    let address = unsafe { VZMACAddress::initWithString(VZMACAddress::alloc(), &text) };
    let Some(address) = address else {
        let source = std::io::Error::other(format!("{} is no address to the framework", plan.mac_address));
        return Err(VzError::System { doing: "give the guest its network card", source });
    };
    // SAFETY: the setters take objects just made.
    unsafe {
        let card = VZVirtioNetworkDeviceConfiguration::new();
        card.setMACAddress(&address);
        card.setAttachment(Some(&VZNATNetworkDeviceAttachment::new()));
        configuration.setNetworkDevices(&NSArray::from_retained_slice(&[Retained::into_super(card)]));
    }
    Ok(())
}

/// The serial console, appended to a file, which is always drained.
fn serial(configuration: &VZVirtualMachineConfiguration, console: &Path) -> Result<(), VzError> {
    let system = |source| VzError::System { doing: "open the guest's console log", source };
    if let Some(folder) = console.parent() {
        std::fs::create_dir_all(folder).map_err(system)?;
    }
    // The framework does not promise to make the file.
    drop(File::options().append(true).create(true).open(console).map_err(system)?);
    // SAFETY: opens the file to append to it; the setters take objects just made.
    unsafe {
        let attachment = VZFileSerialPortAttachment::initWithURL_append_error(
            VZFileSerialPortAttachment::alloc(),
            &file_url(console),
            true,
        )
        .map_err(|error| VzError::failed("open the guest's console log", link_of(&error)))?;
        let port = VZVirtioConsoleDeviceSerialPortConfiguration::new();
        port.setAttachment(Some(&attachment));
        configuration.setSerialPorts(&NSArray::from_retained_slice(&[Retained::into_super(port)]));
    }
    Ok(())
}

/// The port on which the guest reports. The driver reads it for as long as the guest runs.
fn report_port(configuration: &VZVirtualMachineConfiguration, report: BorrowedFd<'_>) -> Result<(), VzError> {
    let system = |source| VzError::System { doing: "open the guest's report port", source };
    let handle = || {
        let descriptor = report.as_fd().try_clone_to_owned().map_err(system)?.into_raw_fd();
        // The handle owns the descriptor and closes it with itself.
        Ok::<_, VzError>(NSFileHandle::initWithFileDescriptor_closeOnDealloc(
            NSFileHandle::alloc(),
            descriptor,
            true,
        ))
    };
    let (reading, writing) = (handle()?, handle()?);
    // SAFETY: both handles are open for what they are given for (a socket); the setters take objects just made.
    unsafe {
        let attachment = VZFileHandleSerialPortAttachment::initWithFileHandleForReading_fileHandleForWriting(
            VZFileHandleSerialPortAttachment::alloc(),
            Some(&reading),
            Some(&writing),
        );
        let port = VZVirtioConsolePortConfiguration::new();
        port.setName(Some(&NSString::from_str(PORT)));
        port.setAttachment(Some(&attachment));
        let device = VZVirtioConsoleDeviceConfiguration::new();
        device.ports().setObject_atIndexedSubscript(Some(&port), 0);
        configuration.setConsoleDevices(&NSArray::from_retained_slice(&[Retained::into_super(device)]));
    }
    Ok(())
}

/// What every guest has: randomness, and memory that can be asked back.
fn common(configuration: &VZVirtualMachineConfiguration) {
    // SAFETY: the setters take objects just made.
    unsafe {
        let entropy = Retained::into_super(VZVirtioEntropyDeviceConfiguration::new());
        configuration.setEntropyDevices(&NSArray::from_retained_slice(&[entropy]));
        let balloon = Retained::into_super(VZVirtioTraditionalMemoryBalloonDeviceConfiguration::new());
        configuration.setMemoryBalloonDevices(&NSArray::from_retained_slice(&[balloon]));
    }
}
