function __selfsame_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l candidates (command $before[1] complete -- $before[2..-1] "$current" 2>/dev/null)
    if test "$candidates[1]" = :files
        __fish_complete_path $current
    else
        printf '%s\n' $candidates
    end
end
complete -c selfsame -f -a '(__selfsame_complete)'
