#!/usr/bin/perl
# wanlink.c for machines without a compiler: the same arguments, lines and answers. In Perl because that is on every
# Debian and Ubuntu (git needs it). Two TUN devices, one in each namespace; what is read from one is written to the other
# after it has waited its turn at the link's rate, and travelled for the delay. A third of a core carries 300 Mbit/s.
#
# usage: wanlink.pl NAMESPACE DEVICE NAMESPACE DEVICE
# It ends with its standard input, and ignores SIGINT, for the reason that wanlink.c gives.
use strict;
use warnings;
use Fcntl qw(O_RDWR O_NONBLOCK);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant TUNSETIFF => 0x400454ca;
use constant IFF_TUN_NO_PI => 0x1001;
# Packets read from one device before the other is looked at.
use constant TURN => 64;
# Sleeping less would cost more than it improves: one packet of 1500 B takes 0.24 ms at 50 Mbit/s.
use constant SLEEP_MIN => 0.0003;
use constant PACKET_MAX => 65536;

die "usage: wanlink.pl NAMESPACE DEVICE NAMESPACE DEVICE\n" unless @ARGV == 4;

my ($rate, $delay, $loss, $queue, $down) = (0, 0, 0, 0.1, 0);    # bytes/s (0: unlimited), s, 0..1, s
my ($near, $far) = (open_end(@ARGV[0, 1], 'a'), open_end(@ARGV[2, 3], 'b'));
# Each direction: when the line is free again, when the newest packet is due, packets as [due, bytes], and figures.
my @ways = map {
  { from => $_->[0], to => $_->[1], free => 0, due => 0, packets => [], count => 0, bytes => 0, dropped => 0 }
} [$near, $far], [$far, $near];

$| = 1;
$SIG{INT} = 'IGNORE';
answer();
STDIN->blocking(0);
my $typed = '';
my $readers = '';
vec($readers, fileno($_), 1) = 1 for $near, $far, \*STDIN;

while (1) {
  my $now = clock_gettime(CLOCK_MONOTONIC);
  my $next = $now + 1;
  for my $way (@ways) {
    give($way, $now);
    my $first = $way->{packets}[0];
    $next = $first->[0] if $first && $first->[0] < $next;
  }
  my $sleep = $next - $now;
  my $ready = $readers;
  select($ready, undef, undef, $sleep > SLEEP_MIN ? $sleep : SLEEP_MIN);
  $now = clock_gettime(CLOCK_MONOTONIC);
  for my $way (@ways) { take($way, $now) if vec($ready, fileno($way->{from}), 1) }
  listen_to_input() if vec($ready, fileno(STDIN), 1);
}

# A TUN device made here and moved there stays bound to its descriptor.
sub open_end {
  local $ENV{PATH} = "$ENV{PATH}:/usr/sbin:/sbin";
  my ($namespace, $device, $side) = @_;
  my $made = 'gw' . $$ . $side;
  sysopen(my $tun, '/dev/net/tun', O_RDWR | O_NONBLOCK) or die "/dev/net/tun: $!\n";
  my $request = pack('a16 s x22', $made, IFF_TUN_NO_PI);
  ioctl($tun, TUNSETIFF, $request) or die "TUNSETIFF: $!\n";
  system('ip', 'link', 'set', $made, 'netns', $namespace, 'name', $device) == 0 or die "cannot move $made\n";
  return $tun;
}

sub take {
  my ($way, $now) = @_;
  for (1 .. TURN) {
    my $length = sysread($way->{from}, my $packet, PACKET_MAX) or return;
    if ($down || ($loss > 0 && rand() < $loss)) { $way->{dropped}++; next }
    my $start = $way->{free} > $now ? $way->{free} : $now;
    if ($start - $now > $queue) { $way->{dropped}++; next }
    $way->{free} = $start + ($rate > 0 ? $length / $rate : 0);
    my $due = $way->{free} + $delay;
    $due = $way->{due} if $due < $way->{due};
    $way->{due} = $due;
    push @{ $way->{packets} }, [$due, $packet];
  }
}

sub give {
  my ($way, $now) = @_;
  my $packets = $way->{packets};
  while (@$packets && $packets->[0][0] <= $now) {
    my $packet = shift(@$packets)->[1];
    # What the device does not take now is lost, as in a switch that is full.
    if (!defined syswrite($way->{to}, $packet)) { $way->{dropped}++; next }
    $way->{count}++;
    $way->{bytes} += length $packet;
  }
}

sub listen_to_input {
  my $length = sysread(STDIN, $typed, 4096, length $typed);
  exit 0 if defined $length && $length == 0;
  while ($typed =~ s/^([^\n]*)\n//) {
    my ($word, @values) = split ' ', $1;
    if ($word eq 'shape' && @values == 5) {
      ($rate, $delay, $queue) = ($values[0] * 1e6 / 8, $values[1] / 1e3, $values[2] / 1e3);
      ($loss, $down) = ($values[3] / 100, $values[4]);
    }
    elsif ($word ne 'stats') { print STDERR "wanlink: unknown command: $word\n" }
    answer();
  }
}

sub answer {
  printf qq({"forth":%s,"back":%s}\n), map { sprintf '{"packets":%d,"bytes":%d,"dropped":%d}', @$_{qw(count bytes dropped)} } @ways;
}
