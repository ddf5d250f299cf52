#!/usr/bin/perl
# WAN links between network namespaces, in user space, for kernels without netem.
#
#     wanlink.pl NAMESPACE DEVICE NAMESPACE DEVICE             one link between two namespaces
#     wanlink.pl NAMESPACE DEVICE PREFIX ... (three and more)  a star: one link from each to a core that is this process
#
# Makes a TUN device in each namespace; its caller gives them addresses. An IP packet read from a device waits its turn at
# the link's rate and then travels for the one-way delay; at the end of the link it is written to the other device, or, in
# a star, goes on over the link of the namespace whose PREFIX (the first three numbers of its IPv4 address) it is for. What
# meets a queue longer than the limit is dropped (tail drop), and so is what loss or a cut takes. Packets keep their order.
# A star in one process costs two system calls a packet where two links and a router between them cost four.
#
# Standard input takes lines, and each is answered with one line of JSON, the counters of both directions of that link;
# links have numbers from 0 in the order of the arguments. The first line says that the devices exist.
#
#     shape LINK MBIT_PER_S ONE_WAY_MS QUEUE_MS LOSS_PERCENT DOWN    rate 0: unlimited; DOWN 0 or 1
#     stats LINK
#
# It ends with its input, so it cannot outlive whoever started it. Loss follows a fixed sequence: the same packets in the
# same order meet the same fate. SIGINT is ignored: Ctrl-C reaches a whole process group, and those who then still close
# their business over this link do so before its caller ends it.
#
# In Perl because Debian and Ubuntu always have perl-base, and with its modules only; Time::HiRes is not one of them. A
# third of a core carries 300 Mbit/s.
use strict;
use warnings;
use Errno qw(EAGAIN EINTR);
use Fcntl qw(O_RDWR O_NONBLOCK);
use POSIX ();

use constant TUNSETIFF => 0x400454ca;
use constant IFF_TUN_NO_PI => 0x1001;
use constant CLOCK_MONOTONIC => 1;
use constant PR_SET_TIMERSLACK => 29;
# Above the devices' MTU of 1,500, also where a sender leaves the cutting to the device.
use constant PACKET_BYTES_MAX => 65536;
# Packets that a direction holds, queued and travelling: 1 Gbit/s for 190 ms in packets of 1,500 bytes.
use constant PACKETS_MAX => 16384;
# Packets taken from one device before the other has its turn.
use constant BURST => 64;
# Sleeping less would cost more than it improves: one packet of 1,500 bytes takes 0.24 ms at 50 Mbit/s.
use constant SLEEP_SECONDS_MIN => 0.0003;
use constant LINE_BYTES_MAX => 256;

# What perl-base has no function for, by `uname -m`.
my %numbers = (x86_64 => { clock_gettime => 228, prctl => 157 }, aarch64 => { clock_gettime => 113, prctl => 167 });

my $star = @ARGV > 4;
die "usage: wanlink.pl NAMESPACE DEVICE NAMESPACE DEVICE | NAMESPACE DEVICE PREFIX (three times and more)\n"
  unless @ARGV == 4 || @ARGV >= 9 && @ARGV % 3 == 0;
my $machine = (POSIX::uname())[4];
my $number = $numbers{$machine} or die "wanlink: made for x86_64 and aarch64, not for $machine\n";

$SIG{INT} = 'IGNORE';
# A link has its own hardware: it should not wait for those who use it. Refused where it may not, and then it waits.
eval { setpriority(0, 0, -10) };
syscall($number->{prctl}, PR_SET_TIMERSLACK, 1000, 0, 0, 0);
srand(1);

my @devices;
my %links;    # In a star: number of the link by prefix.
while (my ($namespace, $device, $prefix) = splice @ARGV, 0, $star ? 3 : 2) {
  $links{pack 'C3', split /\./, $prefix} = @devices if $star;
  push @devices, open_device($namespace, $device, scalar @devices);
}
# A link: rate in bytes/s (0: unlimited), delay and queue in s, loss in 0..1, and its two ways.
my @wires = map { { rate => 0, delay => 0, queue => 0.1, loss => 0, down => 0 } } $star ? @devices : 0;
# Each way: when the line is free again, when the newest packet is due, packets as [due, bytes], and figures. The way to
# the core of a star leads to no device.
sub way { return { wire => $_[0], to => $_[1], free => 0, due => 0, held => [], packets => 0, bytes => 0, dropped => 0 } }
my @forth = map { way($wires[$_], $star ? undef : $devices[1]) } 0 .. $#wires;
my @back = map { way($wires[$_], $devices[$_]) } 0 .. $#wires;
my @ways = (@forth, @back);
# Where what a device sends begins its way.
my @from = $star ? @forth : ($forth[0], $back[0]);

$| = 1;
answer(0);
my $typed = '';
my $readers = '';
vec($readers, fileno($_), 1) = 1 for @devices, \*STDIN;

while (1) {
  my $now = now();
  my $due;
  # Ways to the core first: what arrives there goes on at once.
  for my $way (@ways) {
    next unless @{ $way->{held} };
    deliver($way, $now) if $way->{held}[0][0] <= $now;
    my $first = $way->{held}[0] or next;
    $due = $first->[0] if !defined $due || $first->[0] < $due;
  }
  my $sleep = defined $due ? $due - $now : undef;
  $sleep = SLEEP_SECONDS_MIN if defined $sleep && $sleep < SLEEP_SECONDS_MIN;
  my $ready = $readers;
  next if select($ready, undef, undef, $sleep) <= 0;
  for my $at (0 .. $#devices) { take($devices[$at], $from[$at]) if vec($ready, fileno($devices[$at]), 1) }
  hear() if vec($ready, fileno(STDIN), 1);
}

sub now {
  my $time = "\0" x 16;
  syscall($number->{clock_gettime}, CLOCK_MONOTONIC, $time) == 0 or die "wanlink: clock_gettime: $!\n";
  my ($seconds, $nanoseconds) = unpack('q q', $time);
  return $seconds + $nanoseconds / 1e9;
}

# A TUN device made here and moved there stays bound to its descriptor.
sub open_device {
  my ($namespace, $device, $number) = @_;
  my $made = "gw$$.$number";
  sysopen(my $tun, '/dev/net/tun', O_RDWR | O_NONBLOCK) or die "wanlink: /dev/net/tun: $!\n";
  my $request = pack('a16 s x22', $made, IFF_TUN_NO_PI);
  ioctl($tun, TUNSETIFF, $request) or die "wanlink: TUNSETIFF: $!\n";
  my @move = ('ip', 'link', 'set', $made, 'netns', $namespace, 'name', $device);
  system(@move) == 0 or die "wanlink: @move failed\n";
  return $tun;
}

# Takes what a device has to send.
sub take {
  my ($device, $way) = @_;
  my $now = now();
  for (1 .. BURST) {
    my $length = sysread($device, my $packet, PACKET_BYTES_MAX);
    if (!$length) {
      return if $! == EAGAIN || $! == EINTR;
      exit 0;    # The device is gone with its namespace: the link is over.
    }
    enter($way, $packet, $now);
  }
}

# Decides when a packet that comes to the beginning of a way arrives at its end.
sub enter {
  my ($way, $packet, $now) = @_;
  my ($wire, $held) = @$way{qw(wire held)};
  my $start = $way->{free} > $now ? $way->{free} : $now;
  my $lost = $wire->{down} || $wire->{loss} > 0 && rand() < $wire->{loss};
  if ($lost || @$held >= PACKETS_MAX || $start - $now > $wire->{queue}) {
    $way->{dropped}++;
    return;
  }
  $way->{free} = $start + ($wire->{rate} > 0 ? length($packet) / $wire->{rate} : 0);
  my $due = $way->{free} + $wire->{delay};
  $due = $way->{due} if $due < $way->{due};
  $way->{due} = $due;
  push @$held, [$due, $packet];
}

# Delivers what has arrived by now. What the device does not take is lost, as in a switch that is full.
sub deliver {
  my ($way, $now) = @_;
  my ($held, $to) = @$way{qw(held to)};
  while (@$held && $held->[0][0] <= $now) {
    my ($due, $packet) = @{ shift @$held };
    if (!defined $to || defined syswrite($to, $packet)) {
      $way->{packets}++;
      $way->{bytes} += length $packet;
    } else {
      $way->{dropped}++;
    }
    next if defined $to;
    my $link = $links{substr $packet, 16, 3};
    enter($back[$link], $packet, $due) if defined $link;
  }
}

# Reads what there is of commands and obeys whole lines; ends the process at the end of input.
sub hear {
  my $length = sysread(STDIN, $typed, LINE_BYTES_MAX, length $typed);
  return if !defined $length && $! == EINTR;
  exit 0 unless $length;
  while ($typed =~ s/^([^\n]*)\n//) {
    my ($word, $link, @values) = split ' ', $1;
    my $wire = $wires[$link] or die "wanlink: no link $link\n";
    if ($word eq 'shape' && @values == 5) {
      @$wire{qw(rate delay queue)} = ($values[0] * 1e6 / 8, $values[1] / 1e3, $values[2] / 1e3);
      @$wire{qw(loss down)} = ($values[3] / 100, $values[4]);
    } elsif ($word ne 'stats') {
      die "wanlink: unknown command: $word $link @values\n";
    }
    answer($link);
  }
  die "wanlink: a command of more than @{[LINE_BYTES_MAX]} bytes\n" if length $typed > LINE_BYTES_MAX;
}

sub answer {
  my ($link) = @_;
  my @counters = map { sprintf '{"packets":%d,"bytes":%d,"dropped":%d}', @$_{qw(packets bytes dropped)} }
    $forth[$link], $back[$link];
  printf "{\"forth\":%s,\"back\":%s}\n", @counters;
}
