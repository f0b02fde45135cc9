#pragma once
/// Noticing a fork: the child has the memory of its parent but not its threads, and mutexes that
/// another thread held stay locked for ever. Objects with threads or locks refuse to go on there.

namespace plrt {

/// How many forks lie between the process that loaded this library and this one.
int fork_generation();

/// Throws Error(kState), naming `who`, unless this is still the process of that generation.
void check_not_forked(int generation, const char* who);

}  // namespace plrt
