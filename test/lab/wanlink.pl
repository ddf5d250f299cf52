#!/usr/bin/perl
# A WAN link between two network namespaces, in user space, for kernels without netem.
#
#     wanlink.pl NAMESPACE_A DEVICE_A NAMESPACE_B DEVICE_B
#
# Makes a TUN device in each namespace; its caller gives them addresses. An IP packet read from one device is written to
# the other after it waited its turn at the link's rate and then travelled for the one-way delay. What meets a queue
# longer than the limit is dropped (tail drop), and so is what loss or a cut takes. Packets keep their order.
#
# Standard input takes lines, and each is answered with one line of JSON, the counters of both directions; the first
# such line says that the devices exist.
#
#     shape MBIT_PER_S ONE_WAY_MS QUEUE_MS LOSS_PERCENT DOWN    rate 0: unlimited; DOWN 0 or 1
#     stats
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

die "usage: wanlink.pl NAMESPACE_A DEVICE_A NAMESPACE_B DEVICE_B\n" unless @ARGV == 4;
my $machine = (POSIX::uname())[4];
my $number = $numbers{$machine} or die "wanlink: made for x86_64 and aarch64, not for $machine\n";

$SIG{INT} = 'IGNORE';
# A link has its own hardware: it should not wait for those who use it. Refused where it may not, and then it waits.
eval { setpriority(0, 0, -10) };
syscall($number->{prctl}, PR_SET_TIMERSLACK, 1000, 0, 0, 0);
srand(1);

my ($rate, $delay, $queue, $loss, $down) = (0, 0, 0.1, 0, 0);    # bytes/s (0: unlimited), s, s, 0..1
my ($near, $far) = (open_device(@ARGV[0, 1], 'a'), open_device(@ARGV[2, 3], 'b'));
# Each direction: when the line is free again, when the newest packet is due, packets as [due, bytes], and figures.
my @ways = map {
  { from => $_->[0], to => $_->[1], free => 0, due => 0, held => [], packets => 0, bytes => 0, dropped => 0 }
} [$near, $far], [$far, $near];

$| = 1;
answer();
my $typed = '';
my $readers = '';
vec($readers, fileno($_), 1) = 1 for $near, $far, \*STDIN;

while (1) {
  my $now = now();
  my $due;
  for my $way (@ways) {
    deliver($way, $now);
    my $first = $way->{held}[0] or next;
    $due = $first->[0] if !defined $due || $first->[0] < $due;
  }
  my $sleep = defined $due ? $due - $now : undef;
  $sleep = SLEEP_SECONDS_MIN if defined $sleep && $sleep < SLEEP_SECONDS_MIN;
  my $ready = $readers;
  next if select($ready, undef, undef, $sleep) <= 0;
  for my $way (@ways) { take($way) if vec($ready, fileno($way->{from}), 1) }
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
  my ($namespace, $device, $side) = @_;
  my $made = 'gw' . $$ . $side;
  sysopen(my $tun, '/dev/net/tun', O_RDWR | O_NONBLOCK) or die "wanlink: /dev/net/tun: $!\n";
  my $request = pack('a16 s x22', $made, IFF_TUN_NO_PI);
  ioctl($tun, TUNSETIFF, $request) or die "wanlink: TUNSETIFF: $!\n";
  my @move = ('ip', 'link', 'set', $made, 'netns', $namespace, 'name', $device);
  system(@move) == 0 or die "wanlink: @move failed\n";
  return $tun;
}

# Takes what a device has to send, and decides when it arrives.
sub take {
  my ($way) = @_;
  my ($held, $now) = ($way->{held}, now());
  for (1 .. BURST) {
    my $length = sysread($way->{from}, my $packet, PACKET_BYTES_MAX);
    if (!$length) {
      return if $! == EAGAIN || $! == EINTR;
      exit 0;    # The device is gone with its namespace: the link is over.
    }
    my $start = $way->{free} > $now ? $way->{free} : $now;
    if ($down || $loss > 0 && rand() < $loss || @$held >= PACKETS_MAX || $start - $now > $queue) {
      $way->{dropped}++;
      next;
    }
    $way->{free} = $start + ($rate > 0 ? $length / $rate : 0);
    my $due = $way->{free} + $delay;
    $due = $way->{due} if $due < $way->{due};
    $way->{due} = $due;
    push @$held, [$due, $packet];
  }
}

# Delivers what has arrived by now. What the device does not take is lost, as in a switch that is full.
sub deliver {
  my ($way, $now) = @_;
  my $held = $way->{held};
  while (@$held && $held->[0][0] <= $now) {
    my $packet = shift(@$held)->[1];
    if (defined syswrite($way->{to}, $packet)) {
      $way->{packets}++;
      $way->{bytes} += length $packet;
    } else {
      $way->{dropped}++;
    }
  }
}

# Reads what there is of commands and obeys whole lines; ends the process at the end of input.
sub hear {
  my $length = sysread(STDIN, $typed, LINE_BYTES_MAX, length $typed);
  return if !defined $length && $! == EINTR;
  exit 0 unless $length;
  while ($typed =~ s/^([^\n]*)\n//) {
    my ($word, @values) = split ' ', $1;
    if ($word eq 'shape' && @values == 5) {
      ($rate, $delay, $queue) = ($values[0] * 1e6 / 8, $values[1] / 1e3, $values[2] / 1e3);
      ($loss, $down) = ($values[3] / 100, $values[4]);
    } elsif ($word ne 'stats') {
      die "wanlink: unknown command: $word @values\n";
    }
    answer();
  }
  die "wanlink: a command of more than @{[LINE_BYTES_MAX]} bytes\n" if length $typed > LINE_BYTES_MAX;
}

sub answer {
  my @counters = map { sprintf '{"packets":%d,"bytes":%d,"dropped":%d}', @$_{qw(packets bytes dropped)} } @ways;
  printf "{\"forth\":%s,\"back\":%s}\n", @counters;
}
